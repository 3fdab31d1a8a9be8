import { createHash } from 'node:crypto'
import type { OptionChange } from '../../src/kit/concern.ts'
import type { Caller } from '../../src/lib/caller.ts'
import { isSame, notIn } from '../../src/lib/compare-options.ts'
import { narrowed, type Path, trustsOthers, widened } from './access-changes.ts'
import { alternativesOf } from './alternatives.ts'
import { compileRequirements } from './authorize.ts'
import { type ApiKey, apiKey, readEntries, readUsers } from './credential-files.ts'
import type { AuthOptions } from './options.ts'

/** A credential with what its caller has. */
interface Credential {
  readonly id: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** When it stops to be accepted; Infinity for never. */
  readonly expires: number
  /** What else requirements may look at. */
  readonly rest: unknown
  /** Its caller, for requirements that decide about it here. */
  readonly caller?: Caller
}

/** Credentials by what a request has of them, or its hash. */
export type Credentials = ReadonlyMap<string, Credential>

const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Returns the credentials of the users. */
export function usersOf({ users }: AuthOptions): Credentials {
  const { entries } = readUsers((users ?? {}) as Parameters<typeof readUsers>[0])
  return new Map(
    entries.map(({ name, password, secret, email, roles = [] }) => [
      `${name} ${password ?? hashOf(secret ?? '')}`,
      { id: name, roles, scopes: [], expires: Infinity, rest: email }
    ])
  )
}

/** Returns the API keys. */
export function keysOf({ apiKeys }: AuthOptions): Credentials {
  const { entries } = readEntries<ApiKey>(
    (apiKeys ?? {}) as Parameters<typeof readEntries<ApiKey>>[0],
    apiKey,
    () => undefined
  )
  return new Map(
    entries.map(({ id, key, secret, roles = [], scopes = [], claims, expires }) => [
      key ?? `sha256:${hashOf(secret ?? '')}`,
      {
        id,
        roles,
        scopes,
        expires: expires === undefined ? Infinity : Date.parse(expires),
        rest: [id, claims],
        caller: { id, roles, scopes, claims: claims ?? {}, by: 'apiKeys' }
      }
    ])
  )
}

/** Lists the keys that requests may pass with: all, unless a request has one key alone and that lacks what is required. */
export function admittedKeys(before: AuthOptions, after: AuthOptions): Credentials {
  const keys = keysOf(after)
  const { from = [] } = after.apiKeys ?? {}
  const isAlone = [before, after].every((options) => isSame(alternativesOf(options), [['apiKeys']]))
  const isOnePlace = from.length === 1 && from[0]?.startsWith('header:') === true
  if (!isAlone || !isOnePlace || !isSame(from, before.apiKeys?.from) || after.require === undefined)
    return keys
  // The value of a variable that is not set may be any role.
  if (JSON.stringify([after.require, [...keys.values()]]).includes('unset-')) return keys
  const missing = compileRequirements(after.require)
  return new Map(
    [...keys].filter(([, { caller }]) => caller === undefined || missing(caller, [caller]) === undefined)
  )
}

/** Compares lists of credentials: new ones, and those whose callers have more. */
export function credentialChanges(
  before: Credentials,
  known: Credentials,
  path: Path,
  admitted: Credentials = known
): OptionChange[] {
  const more: string[] = []
  const less: string[] = []
  for (const [credential, { id, roles, scopes, expires, rest }] of known) {
    const old = before.get(credential)
    const hasMore =
      old === undefined ||
      !isSame(rest, old.rest) ||
      expires > old.expires ||
      notIn(roles, old.roles).length + notIn(scopes, old.scopes).length > 0
    if (hasMore && admitted.has(credential)) more.push(id)
    if (old === undefined) continue
    if (expires < old.expires || notIn(old.roles, roles).length + notIn(old.scopes, scopes).length > 0)
      less.push(id)
  }
  for (const [credential, { id }] of before) if (!known.has(credential)) less.push(id)
  return [
    ...(more.length === 0
      ? []
      : [trustsOthers(path, `credentials that are new or have more rights, of ${more.join(', ')}`)]),
    ...(less.length === 0
      ? []
      : [narrowed(path, `no longer accepts credentials or some of their rights, of ${less.join(', ')}`)])
  ]
}

/** Compares the places of a request in which a credential is read. */
export function placeChanges(
  before: readonly string[] = [],
  after: readonly string[] = [],
  path: Path
): OptionChange[] {
  const [more, less] = [notIn(after, before), notIn(before, after)]
  return [
    ...(more.length === 0 ? [] : [widened(path, `accepts credentials in ${more.join(', ')}`)]),
    ...(less.length === 0
      ? []
      : [
          narrowed(path, `no longer accepts credentials in ${less.join(', ')}, and ignores wrong ones there`)
        ]),
    ...(more.length + less.length === 0 && !isSame(before, after)
      ? [widened(path, 'takes another one of several credentials')]
      : [])
  ]
}
