import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'
import { withHeaders } from '../refusals.ts'

/** The shared store is unavailable, and the request can't be decided without it. */
export const StoreUnavailable = createError(
  'SP_ERR_STORE_UNAVAILABLE',
  'Service unavailable: the store that this request depends on is not available',
  503
)

/** Returns the 503 for a request that can't be decided without the shared store, with a Retry-After. */
export const storeUnavailable = (): FastifyError =>
  withHeaders(new StoreUnavailable(), { 'retry-after': '1' })

/** A Lua script, which Redis runs atomically in one round trip. */
export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** A store that several instances share, in Redis or Valkey. A call that fails rejects with SP_ERR_STORE_UNAVAILABLE: within the store's timeout, or at once while the store is known to be unavailable. */
export interface SharedStore {
  /** An id of this connection, unique within the process. */
  readonly id: string
  /** The prefix of every key. */
  readonly prefix: string
  /** Whether it is available now. */
  readonly up: boolean
  /** The client (ioredis), for third-party plugins that need one. */
  readonly client: unknown
  /** Runs commands of a third-party plugin with the timeout and errors of `call`. */
  run<T>(command: () => Promise<T>): Promise<T>
  /** Runs one command. */
  call(command: string, ...args: readonly (string | number)[]): Promise<unknown>
  /** Runs one command whose arguments and reply may be bytes. */
  callBuffer(command: string, ...args: readonly (string | number | Buffer)[]): Promise<unknown>
  /** Defines a script; the same name may be defined again. */
  script(name: string, keys: number, lua: string): Script
}

/** Where counters, sessions and throttles are stored. */
export interface Store {
  /** The shared store; null where the memory of this process is the store. */
  readonly shared: SharedStore | null
}

/** Returns the kind and the state of a store for /status. */
export const storeState = ({ shared }: Store): 'memory' | 'up' | 'away' =>
  shared === null ? 'memory' : shared.up ? 'up' : 'away'
