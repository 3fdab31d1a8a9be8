import { readFileSync } from 'node:fs'
import { type OptionFault, Type } from '../../src/kit/index.ts'
import { isObject, type Static, type TObject } from '../../src/lib/schema.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { parseHash } from './password.ts'

const roles = Type.Optional(Type.Array(Type.String(), { description: 'The roles of the caller.' }))
const scopes = Type.Optional(Type.Array(Type.String(), { description: 'The scopes of the caller.' }))
const secret = Type.Optional(
  Type.String({
    minLength: 1,
    description: 'The password or key itself, from the environment, in place of its hash.'
  })
)

/** A local user. */
export const user = Type.Object(
  {
    name: Type.String({ minLength: 1, description: 'What the user types to log in; the id of the caller.' }),
    password: Type.Optional(
      Type.String({ description: 'The hash of the password, as "sallyport hash" prints it.' })
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
    expires: Type.Optional(
      Type.String({
        pattern: '^\\d{4}-\\d{2}-\\d{2}',
        description: 'The day from which on the key no longer counts, such as "2027-01-01".'
      })
    )
  },
  { additionalProperties: false }
)

export type User = Static<typeof user>
export type ApiKey = Static<typeof apiKey>

/** Where callers are listed: in a file, in place, or both. */
export interface Listed<T> {
  readonly file?: string
  readonly list?: readonly T[]
}

/** Reads the entries of a list and its file; what is wrong with them is returned, never a secret of theirs. */
export function readEntries<T>(
  listed: Listed<T>,
  schema: TObject,
  faulty: (entry: T) => string | undefined
): { entries: T[]; faults: OptionFault[] } {
  const faults: OptionFault[] = []
  const fromFile =
    listed.file === undefined
      ? []
      : readList(listed.file, schema, (message) => faults.push({ path: ['file'], message }))
  const entries = [...fromFile, ...(listed.list ?? [])] as T[]
  for (const [i, entry] of entries.entries()) {
    const inFile = i < fromFile.length
    const message = faulty(entry)
    if (message !== undefined)
      faults.push({
        path: inFile ? ['file'] : ['list', i - fromFile.length],
        message: inFile ? `${listed.file}: entry ${i + 1}: ${message}` : message
      })
  }
  return { entries, faults }
}

function readList(file: string, schema: TObject, fault: (message: string) => void): unknown[] {
  let read: unknown
  try {
    read = JSON.parse(readFileSync(file, 'utf8'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    fault(code === undefined ? `The file ${file} is not JSON` : unreadable(file, error))
    return []
  }
  if (!Array.isArray(read)) {
    fault(`The file ${file} has no list of callers`)
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
          ? `${file}: entry ${i + 1} is no object`
          : `${file}: entry ${i + 1}: unknown word "${unknown}"; known here: ${known.join(', ')}`
      )
    return unknown === undefined
  })
}

const isTexts = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.every((each) => typeof each === 'string'))

/** Tells what is wrong with a user's entry. */
export function userFault({ name, password, secret, email, roles }: User): string | undefined {
  if (typeof name !== 'string' || name === '') return 'A user needs a name'
  if (!isTexts(roles)) return `The roles of "${name}" are no list of texts`
  if (email !== undefined && typeof email !== 'string') return `The email of "${name}" is no text`
  if (secret !== undefined && typeof secret !== 'string') return `The secret of "${name}" is no text`
  if ((password === undefined) === (secret === undefined))
    return `The user "${name}" needs a "password", the line that "sallyport hash" prints`
  if (password !== undefined && parseHash(password) === undefined)
    return `The password of "${name}" is no argon2id or scrypt hash; "sallyport hash" makes one`
  return undefined
}

/** Tells what is wrong with the entry of a key. */
export function keyFault({ id, key, secret, roles, scopes, expires }: ApiKey): string | undefined {
  if (typeof id !== 'string' || id === '') return 'A key needs an id'
  if (!isTexts(roles)) return `The roles of "${id}" are no list of texts`
  if (!isTexts(scopes)) return `The scopes of "${id}" are no list of texts`
  if (secret !== undefined && typeof secret !== 'string') return `The secret of "${id}" is no text`
  if ((key === undefined) === (secret === undefined))
    return `The key of "${id}" needs a "key", the line that "sallyport hash --key" prints`
  if (key !== undefined && !/^sha256:[0-9a-f]{64}$/.test(key))
    return `The key of "${id}" is no "sha256:" and 64 hex digits; "sallyport hash --key" makes them`
  if (expires !== undefined && (typeof expires !== 'string' || Number.isNaN(Date.parse(expires))))
    return `The key of "${id}" expires on "${expires}", which is no date`
  return undefined
}
