import { argon2, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify(argon2)
const LENGTH = 32
// OWASP Password Storage Cheat Sheet (2026): argon2id with 19 MiB, two passes, one lane.
const COST = { m: 19_456, t: 2, p: 1 }

interface Parsed {
  readonly kind: 'argon2id' | 'scrypt'
  readonly cost: Readonly<Record<string, number>>
  readonly salt: Buffer
  readonly hash: Buffer
}

/** Hashes a password with argon2id into a PHC string. */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16)
  const hash = await argon2id(password, salt, COST, LENGTH)
  return `$argon2id$v=19$m=${COST.m},t=${COST.t},p=${COST.p}$${bare(salt)}$${bare(hash)}`
}

const bare = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')

const argon2id = (
  password: string,
  nonce: Buffer,
  { m = 0, t = 0, p = 0 }: Readonly<Record<string, number>>,
  tagLength: number
): Promise<Buffer> =>
  derive('argon2id', {
    message: password,
    nonce,
    parallelism: p,
    tagLength,
    memory: m,
    passes: t
  }) as Promise<Buffer>

/** Reads a PHC string of argon2id or scrypt; undefined where it is neither, or asks for more than 256 MiB. */
export function parseHash(text: string): Parsed | undefined {
  const match =
    /^\$(argon2id)\$v=19\$([a-z0-9=,]+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/.exec(text) ??
    /^\$(scrypt)\$([a-z0-9=,]+)\$([A-Za-z0-9+/.]+)\$([A-Za-z0-9+/.]+)$/.exec(text)
  if (match === null) return undefined
  const [, kind, costs = '', salt = '', hash = ''] = match
  const cost = Object.fromEntries(
    costs.split(',').map((pair) => [pair.split('=')[0] ?? '', Number(pair.split('=')[1])])
  )
  const parsed = {
    kind: kind as Parsed['kind'],
    cost,
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64')
  }
  return affordable(parsed) && parsed.salt.length >= 8 && parsed.hash.length >= 16 ? parsed : undefined
}

function affordable({ kind, cost }: Parsed): boolean {
  const whole = (value: number | undefined, least: number, most: number): boolean =>
    Number.isInteger(value) && (value ?? 0) >= least && (value ?? 0) <= most
  return kind === 'argon2id'
    ? whole(cost['m'], 8, 262_144) && whole(cost['t'], 1, 16) && whole(cost['p'], 1, 16)
    : whole(cost['ln'], 10, 20) &&
        whole(cost['r'], 1, 16) &&
        whole(cost['p'], 1, 16) &&
        128 * (cost['r'] ?? 0) * 2 ** (cost['ln'] ?? 0) <= 256 * 1024 ** 2
}

/** Tells whether a password is the one of a hash, comparing in constant time. */
export async function verifyPassword(password: string, { kind, cost, salt, hash }: Parsed): Promise<boolean> {
  const found =
    kind === 'argon2id'
      ? await argon2id(password, salt, cost, hash.length)
      : await scrypted(password, salt, cost, hash.length)
  return found.length === hash.length && timingSafeEqual(found, hash)
}

const scrypted = (
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
