import type { FastifyReply, FastifyRequest } from 'fastify'

/** Changes the head of a response just before it is sent. */
export type HeadHook = (request: FastifyRequest, reply: FastifyReply, head: Head) => void

/** The head of a response, sent by Fastify or streamed from an upstream; names are in lower case. */
export interface Head {
  readonly status: number
  has(name: string): boolean
  /** Returns the value of a header, several fields as one list; undefined if there is none. */
  get(name: string): string | undefined
  set(name: string, value: string): void
  /** Adds one more field. */
  add(name: string, value: string): void
  remove(name: string): void
}
