import type { FastifyRequest } from 'fastify'
import type { Hooks } from '../../src/kit/index.ts'
import { privateField } from '../../src/lib/http/cache-control.ts'
import { exemptMatcher } from '../../src/lib/http/exempt-addresses.ts'
import type { AuthOptions } from './options.ts'

/** Compiles `exempt` into a test whether a request needs no caller. */
export const compileExempt = ({
  exempt,
  require
}: Pick<AuthOptions, 'exempt' | 'require'>): ((request: FastifyRequest) => boolean) =>
  // A requirement is one of a caller.
  exemptMatcher(require === undefined ? exempt : [])

/** Returns the hook that makes responses to exempt clients private, since no request header tells a shared cache the address; undefined where every client passes. */
export function exemptHead(options: Pick<AuthOptions, 'exempt' | 'require' | 'optional'>): Hooks['onHead'] {
  if (options.exempt.length === 0 || options.require !== undefined || options.optional) return undefined
  const isExempt = compileExempt(options)
  return (request, _reply, head) => {
    if (request.caller === null && isExempt(request))
      head.set('cache-control', privateField(head.get('cache-control')))
  }
}
