import {
  decodeProtectedHeader,
  errors,
  type JWTVerifyOptions,
  type JWTVerifyResult,
  jwtVerify,
  type ProtectedHeaderParameters
} from 'jose'
import type { ServerMetadata } from 'openid-client'
import { verifyWithAnyKey } from '../jwt/token.ts'
import { ALGORITHMS, type ProviderKeys, type RemoteKeySet } from './provider-keys.ts'

// As openid-client, which checks the claims.
const CLOCK_TOLERANCE_SECONDS = 30

// Tokens of other kinds that the same keys sign (RFC 8725 section 3.11).
const OTHER_TYPES = /^(application\/)?(at|logout|dpop|secevent)\+jwt$/i

/** What the ID tokens of a client are verified with. */
export interface IdTokenChecks {
  readonly keys: ProviderKeys
  readonly clientId: string
  /** The client secret, which is the key of the HMAC algorithms (OpenID Connect Core 1.0 section 10.1). */
  readonly secret: string | undefined
}

/** Verifies what openid-client does not: the signature of an ID token, since the way from the token endpoint may have no TLS, its type, and for which client it is. Throws if it is invalid, or no key can be fetched. */
export async function verifyIdToken(
  token: string,
  metadata: ServerMetadata,
  { keys, clientId, secret = '' }: IdTokenChecks
): Promise<void> {
  const { alg = '' } = headerOf(token)
  const clockTolerance = CLOCK_TOLERANCE_SECONDS
  const { payload, protectedHeader } =
    alg.startsWith('HS') && secret !== ''
      ? await jwtVerify(token, new TextEncoder().encode(secret), { algorithms: [alg], clockTolerance })
      : await verifyWithNewestKeys(keys.of(metadata), token, { algorithms: [...ALGORITHMS], clockTolerance })
  if (OTHER_TYPES.test(protectedHeader.typ ?? ''))
    throw new errors.JWTClaimValidationFailed('expected an ID token', payload, 'typ')
  // OpenID Connect Core 1.0 section 3.1.3.7, item 5.
  if (payload['azp'] !== undefined && payload['azp'] !== clientId)
    throw new errors.JWTClaimValidationFailed('expected this client in "azp"', payload, 'azp')
}

function headerOf(token: string): ProtectedHeaderParameters {
  try {
    return decodeProtectedHeader(token)
  } catch (cause) {
    throw new errors.JWTInvalid('expected an ID token with a header', { cause })
  }
}

/** Verifies a token; a provider may rotate its key under the same id or without one. */
async function verifyWithNewestKeys(
  find: RemoteKeySet,
  token: string,
  options: JWTVerifyOptions
): Promise<JWTVerifyResult> {
  try {
    return await verifyWithAnyKey(find, token, options)
  } catch (error) {
    if (!(error instanceof errors.JWSSignatureVerificationFailed) || find.coolingDown) throw error
    await find.reload()
    return verifyWithAnyKey(find, token, options)
  }
}
