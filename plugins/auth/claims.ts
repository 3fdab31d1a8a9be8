import { Type } from '../../src/kit/index.ts'
import { isObject } from '../../src/lib/schema.ts'
import { claimOf } from '../../src/lib/values.ts'

/** The options that say where a token holds roles and scopes. */
export const claimNames = {
  rolesClaim: Type.String({
    default: 'roles',
    description:
      'The claim that holds the roles, as a list, a text with commas or the keys of an object; its name is tried literally and then by its dots.'
  }),
  scopesClaim: Type.String({
    default: 'scope',
    description: 'The claim that holds the scopes, as a list or a text with spaces.'
  })
}

/** What claims tell of somebody. */
export interface Profile {
  readonly name?: string
  readonly email?: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
}

/** Reads what claims tell of somebody; `scope` is what was granted where no claim says it. */
export function claimsToProfile(
  claims: Readonly<Record<string, unknown>>,
  { rolesClaim, scopesClaim }: { readonly rolesClaim: string; readonly scopesClaim: string },
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

/** Reads the first of some claims that is a text with something in it. */
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

/** Reads roles from a list, a text with commas, or the keys of an object whose values say yes. A role may have spaces in its name: "not admin" is no "admin". */
function rolesIn(value: unknown): string[] {
  if (typeof value === 'string')
    return value
      .split(',')
      .map((role) => role.trim())
      .filter(Boolean)
  // As Zitadel and Firebase tell them.
  if (isObject(value))
    return Object.keys(value).filter((role) => value[role] === true || isObject(value[role]))
  return listOf(value)
}

const listOf = (value: unknown): string[] =>
  [value].flat().filter((each) => typeof each === 'string' && each !== '') as string[]
