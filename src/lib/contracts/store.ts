import { createError } from '@fastify/error'
import type { FastifyError } from 'fastify'
import { withHeaders } from '../refusals.ts'

/** The store that instances share did not answer, and what it would have told decides. */
const StoreAway = createError(
  'SP_ERR_STORE_UNAVAILABLE',
  'Something that the gateway needs to decide on this request is not available',
  503
)

/** Makes the refusal of a request that can't be decided on without the shared store. */
export const storeAway = (): FastifyError => withHeaders(new StoreAway(), { 'retry-after': '1' })

/** A Lua script that Redis runs in one step and one round trip. */
export type Script = (keys: readonly string[], args: readonly (string | number)[]) => Promise<unknown>

/** What several instances share, in Redis or Valkey. A call ends within the store's timeout, and at once while the store is known to be away: it rejects with SP_ERR_STORE_UNAVAILABLE. */
export interface SharedStore {
  /** What tells this connection from all others of the process. */
  readonly id: string
  /** What every key begins with. */
  readonly prefix: string
  /** Whether it answers now. */
  readonly up: boolean
  /** The client itself, for vendors that want one (ioredis). */
  readonly client: unknown
  /** Runs what a vendor asks of the client, as any call is run. */
  ask<T>(run: () => Promise<T>): Promise<T>
  /** Runs one command. */
  call(command: string, ...args: readonly (string | number)[]): Promise<unknown>
  /** Defines a script by a name of its own; defining it again is fine. */
  script(name: string, keys: number, lua: string): Script
}

/** Where counters, sessions and throttles live. */
export interface Store {
  /** What instances share; null where the memory of this process is the store. */
  readonly shared: SharedStore | null
}

/** Tells where things are kept, and whether what instances share answers now. */
export const storeState = ({ shared }: Store): 'memory' | 'up' | 'away' =>
  shared === null ? 'memory' : shared.up ? 'up' : 'away'
