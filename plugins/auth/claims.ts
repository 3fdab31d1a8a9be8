import { Type } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { claimOf } from '../../src/lib/values.ts'

/** The options that name the claims with roles and scopes. */
export const claimNames = {
  rolesClaim: Type.String({
    default: 'roles',
    description:
      'The claim with the roles: a list, a comma-separated string or the keys of an object. Its name is tried literally, then as a path with dots.'
  }),
  scopesClaim: Type.String({
    default: 'scope',
    description: 'The claim with the scopes: a list or a space-separated string.'
  })
}

export interface ClaimNames {
  readonly rolesClaim: string
  readonly scopesClaim: string
}

/** The caller's data in the claims of a token. */
export interface Profile {
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
}

/** Reads a profile from claims; `scope` is the granted scope, used if no claim has one. */
export function claimsToProfile(
  claims: Readonly<Record<string, unknown>>,
  { rolesClaim, scopesClaim }: ClaimNames,
  scope?: string
): Profile {
  const name = textIn(claims, 'name', 'preferred_username', 'nickname')
  const email = textIn(claims, 'email')
  const scopes = claimOf(claims, scopesClaim) ?? scope
  return {
    ...(name === undefined ? {} : { name }),
    ...(email === undefined ? {} : { email }),
    roles: rolesIn(claimOf(claims, rolesClaim)),
    scopes: typeof scopes === 'string' ? scopes.split(' ').filter(Boolean) : listOf(scopes)
  }
}

/** Returns the first of some claims that is a non-empty string. */
export function textIn(
  claims: Readonly<Record<string, unknown>>,
  ...names: readonly string[]
): string | undefined {
  for (const name of names) {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined
    if (typeof value === 'string' && value !== '') return value
  }
  return undefined
}

/** Reads roles from a list, a comma-separated string, or the keys of an object whose values are true or objects. Spaces do not separate roles: "not admin" is one role. */
function rolesIn(value: unknown): string[] {
  if (typeof value === 'string')
    return value
      .split(',')
      .map((role) => role.trim())
      .filter(Boolean)
  // Zitadel and Firebase send roles as an object.
  if (isObject(value))
    return Object.keys(value).filter((role) => value[role] === true || isObject(value[role]))
  return listOf(value)
}

const listOf = (value: unknown): string[] =>
  [value].flat().filter((each) => typeof each === 'string' && each !== '') as string[]
