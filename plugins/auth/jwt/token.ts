import { errors, type JWTVerifyGetKey, type JWTVerifyOptions, type JWTVerifyResult, jwtVerify } from 'jose'
import { visit } from 'jsonc-parser'
import { isObject } from '../../../src/lib/schema.ts'

// A client can send names of any length.
const MAX_LOGGED_NAME_LENGTH = 100

/** Reads the unverified key id and issuer of a token, for the log. */
export function namesIn(token: string): { kid?: string; issuer?: string } {
  const [header = '', payload = ''] = token.split('.')
  const { kid } = objectIn(header)
  const { iss } = objectIn(payload)
  return {
    ...(typeof kid === 'string' ? { kid: kid.slice(0, MAX_LOGGED_NAME_LENGTH) } : {}),
    ...(typeof iss === 'string' ? { issuer: iss.slice(0, MAX_LOGGED_NAME_LENGTH) } : {})
  }
}

/** Reads the unverified issuer of a token, by which its keys are chosen; undefined if it names none. */
export function issuerIn(token: string): string | undefined {
  const { iss } = objectIn(token.split('.', 2)[1] ?? '')
  return typeof iss === 'string' ? iss : undefined
}

function objectIn(part: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
    return isObject(value) ? value : {}
  } catch {
    return {}
  }
}

/** Returns whether a token is in JWS compact serialization, without characters that a lenient base64url decoder drops (RFC 7515 section 2). */
export function isCompact(token: string): boolean {
  const parts = token.split('.')
  return (
    parts.length === 3 && parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part)
  )
}

/** Adds the other name of Ed25519, which has two (RFC 9864). */
export const withEd25519Aliases = (algorithms: readonly string[]): string[] =>
  algorithms.some((name) => ED25519.has(name)) ? [...new Set([...algorithms, ...ED25519])] : [...algorithms]

const ED25519: ReadonlySet<string> = new Set(['EdDSA', 'Ed25519'])

/** Returns the reason for the log and the metric, one of a fixed set. */
export function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS.get(error.claim) ?? 'claim'
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm'
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_key'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  return 'malformed'
}

const CLAIMS: ReadonlyMap<string, string> = new Map([
  ['iss', 'issuer'],
  ['aud', 'audience'],
  ['exp', 'no_expiry'],
  ['nbf', 'not_yet_valid']
])

/** Verifies a token; without a key id, each key of its algorithm is tried. */
export async function verifyWithAnyKey(
  find: JWTVerifyGetKey,
  token: string,
  options: JWTVerifyOptions
): Promise<JWTVerifyResult> {
  try {
    return await jwtVerify(token, find, options)
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
    for await (const key of error) {
      try {
        return await jwtVerify(token, key, options)
      } catch (failed) {
        if (!(failed instanceof errors.JWSSignatureVerificationFailed)) throw failed
      }
    }
    throw new errors.JWSSignatureVerificationFailed()
  }
}

/** Returns whether a token has duplicate JSON keys: parsers that keep the first and those that keep the last would see two callers. */
export function hasDuplicateKeys(token: string): boolean {
  let isDuplicate = false
  for (const part of token.split('.', 2)) {
    const open: Set<string>[] = []
    visit(Buffer.from(part, 'base64url').toString('utf8'), {
      onObjectBegin: () => void open.push(new Set()),
      onObjectEnd: () => void open.pop(),
      onObjectProperty(name) {
        const known = open.at(-1)
        isDuplicate ||= known?.has(name) === true
        known?.add(name)
      }
    })
  }
  return isDuplicate
}
