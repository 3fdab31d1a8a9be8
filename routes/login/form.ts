import type { FastifyReply, FastifyRequest } from 'fastify'
import { isObject } from '../../src/lib/schema.ts'

/** Reads a field of a form or a JSON body; undefined unless it is a string. */
export function formField(body: unknown, name: string): string | undefined {
  const value = isObject(body) && Object.hasOwn(body, name) ? body[name] : undefined
  return typeof value === 'string' ? value : undefined
}

/** Returns whether a field of a form or a JSON body is true or a checked box. */
export const isTrue = (body: unknown, name: string): boolean =>
  isObject(body) &&
  (body[name] === true || body[name] === 'true' || body[name] === '1' || body[name] === 'on')

/** Returns whether a browser has sent the form of a page, and so shows the response. */
export function isForm({ headers }: FastifyRequest): boolean {
  if (headers['content-type']?.toLowerCase().startsWith('application/x-www-form-urlencoded') !== true)
    return false
  const mode = headers['sec-fetch-mode']
  return mode === undefined
    ? headers['upgrade-insecure-requests'] === '1' || headers.accept?.includes('text/html') === true
    : mode === 'navigate'
}

/** Returns whether the client accepts JSON. */
export const wantsJson = ({ headers }: FastifyRequest): boolean => headers.accept?.includes('json') === true

/** Returns the body of a response that is only a message, as JSON or plain text. */
export function messageBody(request: FastifyRequest, reply: FastifyReply, message: string): unknown {
  if (wantsJson(request)) return { message }
  reply.type('text/plain; charset=utf-8')
  return message
}
