import { readFileSync } from 'node:fs'
import { defineWarning, type OptionFault, Type, type Warning } from '../../src/kit/index.ts'
import { isObject, type Static, type TObject } from '../../src/lib/schema.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { isBcrypt } from './bcrypt.ts'
import { kindOfHash, readHtpasswd } from './htpasswd.ts'
import { parseHash } from './password.ts'

const roles = Type.Optional(
  Type.Array(Type.String(), { description: 'The roles of the caller.', examples: [['admin']] })
)
const scopes = Type.Optional(
  Type.Array(Type.String(), { description: 'The scopes of the caller.', examples: [['orders:read']] })
)
const secret = Type.Optional(
  Type.String({
    minLength: 1,
    description: 'The password or key in plain text, from the environment, instead of its hash.'
  })
)

/** A local user. */
export const user = Type.Object(
  {
    name: Type.String({ minLength: 1, description: 'The user name; the id of the caller.' }),
    password: Type.Optional(
      Type.String({
        description: 'The hash of the password, as "sallyport hash" prints it; argon2id, scrypt or bcrypt.'
      })
    ),
    secret,
    email: Type.Optional(Type.String({ description: 'The mail address of the user.' })),
    roles
  },
  { additionalProperties: false }
)

/** A caller with an API key. */
export const apiKey = Type.Object(
  {
    id: Type.String({ minLength: 1, description: 'The id of the caller; several keys may share one.' }),
    key: Type.Optional(
      Type.String({ description: 'The hash of the key, as "sallyport hash --key" prints it.' })
    ),
    secret,
    roles,
    scopes,
    claims: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description: 'Claims of the caller, for "require", "identity" and request values.',
        examples: [{ tenant: 'acme' }]
      })
    ),
    expires: Type.Optional(
      Type.String({
        pattern: '^\\d{4}-\\d{2}-\\d{2}',
        description: 'The day from which the key is no longer accepted, such as "2027-01-01".',
        examples: ['2027-01-01']
      })
    )
  },
  { additionalProperties: false }
)

export type User = Static<typeof user>
export type ApiKey = Static<typeof apiKey>

/** A list of callers: in a file, inline, or both. */
export interface Listed<T> {
  readonly file?: string
  readonly list?: readonly T[]
}

/** Reads the entries of a list and its file, and their errors, which never contain a secret; `readLines` reads a file that is not JSON. */
export function readEntries<T>(
  listed: Listed<T>,
  schema: TObject,
  faultOf: (entry: T) => string | undefined,
  readLines: (text: string) => unknown[] | undefined = () => undefined
): { entries: T[]; faults: OptionFault[] } {
  const faults: OptionFault[] = []
  const fromFile =
    listed.file === undefined
      ? []
      : readList(listed.file, schema, {
          readLines,
          fault: (message) => faults.push({ path: ['file'], message })
        })
  const entries = [...fromFile, ...(listed.list ?? [])] as T[]
  for (const [i, entry] of entries.entries()) {
    const inFile = i < fromFile.length
    const message = faultOf(entry)
    if (message !== undefined)
      faults.push({
        path: inFile ? ['file'] : ['list', i - fromFile.length],
        message: inFile ? `${listed.file}: entry ${i + 1}: ${message}` : message
      })
  }
  return { entries, faults }
}

interface ListReader {
  readonly readLines: (text: string) => unknown[] | undefined
  readonly fault: (message: string) => void
}

function readList(file: string, schema: TObject, { readLines, fault }: ListReader): unknown[] {
  let read: unknown
  try {
    const text = readFileSync(file, 'utf8')
    read = readLines(text) ?? JSON.parse(text)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    fault(code === undefined ? `expected JSON in the file ${file}` : unreadable(file, error))
    return []
  }
  if (!Array.isArray(read)) {
    fault(`expected a list of callers in the file ${file}`)
    return []
  }
  const known = Object.keys(schema.properties)
  return read.filter((entry, i) => {
    const unknown = isObject(entry)
      ? Object.keys(entry).find((key) => !known.includes(key) && !key.startsWith('x-'))
      : ''
    if (unknown !== undefined)
      fault(
        unknown === ''
          ? `${file}: entry ${i + 1}: expected an object`
          : `${file}: entry ${i + 1}: unknown option "${unknown}"; expected one of ${known.join(', ')}`
      )
    return unknown === undefined
  })
}

const isOptionalStringList = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.every((each) => typeof each === 'string'))

/** Reads local users: from a JSON file or an htpasswd file, inline, or both. */
export const readUsers = (listed: Listed<User>): { entries: User[]; faults: OptionFault[] } =>
  readEntries(listed, user, userFault, readHtpasswd)

/** Lists a warning about users with bcrypt hashes. */
const bcrypt = defineWarning('SP_WARN_AUTH_BCRYPT', 'low', 'Passwords hashed with bcrypt')

export const userWarnings = (listed: Listed<User> | undefined): Warning[] =>
  listed !== undefined &&
  readUsers(listed).entries.some(({ password }) => typeof password === 'string' && isBcrypt(password))
    ? [
        bcrypt(
          'accepts users with bcrypt hashes, which cost an attacker little memory; "sallyport hash" makes argon2id hashes',
          ['users']
        )
      ]
    : []

const gotOf = (password: string): string => {
  const kind = kindOfHash(password)
  return kind === undefined ? '' : `, got ${kind}`
}

/** Returns the error in a user's entry. */
function userFault({ name, password, secret, email, roles }: User): string | undefined {
  if (typeof name !== 'string' || name === '') return 'expected a name for every user'
  if (!isOptionalStringList(roles)) return `expected a list of strings as the roles of "${name}"`
  if (email !== undefined && typeof email !== 'string') return `expected a string as the email of "${name}"`
  if (secret !== undefined && typeof secret !== 'string')
    return `expected a string as the secret of "${name}"`
  if ((password === undefined) === (secret === undefined))
    return `expected a "password" for the user "${name}", the line that "sallyport hash" prints`
  if (password !== undefined && parseHash(password) === undefined)
    return `expected an argon2id, scrypt or bcrypt hash as the password of "${name}"${gotOf(password)}; "sallyport hash" makes one`
  return undefined
}

/** Returns the error in the entry of an API key. */
export function apiKeyFault({ id, key, secret, roles, scopes, claims, expires }: ApiKey): string | undefined {
  if (typeof id !== 'string' || id === '') return 'expected an id for every key'
  if (!isOptionalStringList(roles)) return `expected a list of strings as the roles of "${id}"`
  if (!isOptionalStringList(scopes)) return `expected a list of strings as the scopes of "${id}"`
  if (claims !== undefined && !isObject(claims)) return `expected an object as the claims of "${id}"`
  if (secret !== undefined && typeof secret !== 'string') return `expected a string as the secret of "${id}"`
  if ((key === undefined) === (secret === undefined))
    return `expected a "key" for "${id}", the line that "sallyport hash --key" prints`
  if (key !== undefined && !/^sha256:[0-9a-f]{64}$/.test(key))
    return `expected "sha256:" and 64 hex digits as the key of "${id}"; "sallyport hash --key" prints them`
  if (expires !== undefined && (typeof expires !== 'string' || Number.isNaN(Date.parse(expires))))
    return `expected a date as "expires" of "${id}", got "${expires}"`
  return undefined
}
