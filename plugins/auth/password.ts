import { argon2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { isBcrypt, verifyBcrypt } from './bcrypt.ts'

const argon2Async = promisify(argon2)
const HASH_BYTES = 32
// OWASP Password Storage Cheat Sheet (2026): argon2id with 19 MiB, two passes, one lane.
const ARGON2_COST = { m: 19_456, t: 2, p: 1 }

type Parsed = Derived | { readonly kind: 'bcrypt'; readonly text: string }

interface Derived {
  readonly kind: 'argon2id' | 'scrypt'
  readonly cost: Readonly<Record<string, number>>
  readonly salt: Buffer
  readonly hash: Buffer
}

/** Hashes a password with argon2id into a PHC string. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await deriveArgon2id(password, salt, ARGON2_COST, HASH_BYTES)
  return `$argon2id$v=19$m=${ARGON2_COST.m},t=${ARGON2_COST.t},p=${ARGON2_COST.p}$${unpadded(salt)}$${unpadded(hash)}`
}

const unpadded = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')

const deriveArgon2id = (
  password: string,
  nonce: Buffer,
  { m = 0, t = 0, p = 0 }: Readonly<Record<string, number>>,
  tagLength: number
): Promise<Buffer> =>
  argon2Async('argon2id', {
    message: password,
    nonce,
    parallelism: p,
    tagLength,
    memory: m,
    passes: t
  }) as Promise<Buffer>

/** Reads a PHC string of argon2id or scrypt, or a bcrypt hash; undefined if it is none of them, or too costly: more than 256 MiB, or a bcrypt cost over 14. */
export function parseHash(text: string): Parsed | undefined {
  if (isBcrypt(text)) return { kind: 'bcrypt', text }
  const match =
    /^\$(argon2id)\$v=19\$([a-z0-9=,]+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(text) ??
    /^\$(scrypt)\$([a-z0-9=,]+)\$([A-Za-z0-9+/.]+)\$([A-Za-z0-9+/.]+)$/.exec(text)
  if (match === null) return undefined
  const [, kind, costs = '', salt = '', hash = ''] = match
  const cost = Object.fromEntries(
    costs.split(',').map((pair) => [pair.split('=')[0] ?? '', Number(pair.split('=')[1])])
  )
  const parsed = {
    kind: kind as Derived['kind'],
    cost,
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64')
  }
  return isAffordable(parsed) && parsed.salt.length >= 8 && parsed.hash.length >= 16 ? parsed : undefined
}

function isAffordable({ kind, cost }: Derived): boolean {
  const isBetween = (value: number | undefined, min: number, max: number): boolean =>
    Number.isInteger(value) && (value ?? 0) >= min && (value ?? 0) <= max
  return kind === 'argon2id'
    ? isBetween(cost['m'], 8, 262_144) && isBetween(cost['t'], 1, 16) && isBetween(cost['p'], 1, 16)
    : isBetween(cost['ln'], 10, 20) &&
        isBetween(cost['r'], 1, 16) &&
        isBetween(cost['p'], 1, 16) &&
        128 * (cost['r'] ?? 0) * 2 ** (cost['ln'] ?? 0) <= 256 * 1024 ** 2
}

/** Resolves to whether a password matches a hash, compared in constant time. */
export async function verifyPassword(password: string, parsed: Parsed): Promise<boolean> {
  if (parsed.kind === 'bcrypt') return verifyBcrypt(password, parsed.text)
  const { kind, cost, salt, hash } = parsed
  const derived =
    kind === 'argon2id'
      ? await deriveArgon2id(password, salt, cost, hash.length)
      : await deriveScrypt(password, salt, cost, hash.length)
  return derived.length === hash.length && timingSafeEqual(derived, hash)
}

const deriveScrypt = (
  password: string,
  salt: Buffer,
  { ln = 0, r = 0, p = 0 }: Readonly<Record<string, number>>,
  length: number
): Promise<Buffer> =>
  new Promise((resolve, reject) =>
    scrypt(password, salt, length, { N: 2 ** ln, r, p, maxmem: 512 * 1024 ** 2 }, (error, key) =>
      error === null ? resolve(key) : reject(error)
    )
  )
