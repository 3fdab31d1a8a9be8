import type { FastifyRequest } from 'fastify'
import type { Caller } from '../lib/caller.ts'
import { isObject } from '../lib/schema.ts'

/** Returns who stands in for the result of a strategy; undefined where the strategy itself runs. */
export type CallerFor = (strategy: string, request: FastifyRequest) => Caller | null | undefined

/** A caller without the strategy that it stands in for. */
export type CallerStandIn = Omit<Caller, 'by'>

/** Reads a caller from an object: its id, roles and claims, or the claims of a token; undefined without an id. */
export function readCaller(value: unknown): CallerStandIn | undefined {
  if (!isObject(value)) return undefined
  const { id = value['sub'], name, email, roles, scopes = value['scope'], claims } = value
  if (typeof id !== 'string' || id === '') return undefined
  return {
    id,
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof email === 'string' ? { email } : {}),
    roles: textsIn(roles),
    scopes: textsIn(scopes),
    // Without claims of its own, the object is a set of claims itself.
    claims: isObject(claims) ? claims : value
  }
}

/** Makes a caller stand in for the strategy that succeeds first on a route. */
export const standIn =
  (caller: CallerStandIn): CallerFor =>
  (strategy) => ({ ...caller, by: strategy })

const textsIn = (value: unknown): readonly string[] =>
  typeof value === 'string'
    ? value.split(' ').filter((text) => text !== '')
    : Array.isArray(value)
      ? value.filter((text): text is string => typeof text === 'string')
      : []
