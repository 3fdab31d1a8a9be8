import { decodeProtectedHeader, errors, type JWTVerifyOptions, jwtVerify } from 'jose'
import type { ServerMetadata } from 'openid-client'
import { verifyWithAnyKey } from '../jwt/token.ts'
import { ALGORITHMS, type ProviderKeys, type RemoteKeySet } from './provider-keys.ts'

// As openid-client, which checks the claims.
const CLOCK_TOLERANCE_SECONDS = 30

/** What the signatures of a provider are verified with. */
export interface SignatureKeys {
  readonly keys: ProviderKeys
  /** The client secret, which is the key of the HMAC algorithms (OpenID Connect Core 1.0 section 10.1). */
  readonly secret: string | undefined
}

/** Verifies the signature of an ID token, since the way from the token endpoint may have no TLS; throws if it is invalid, or no key can be fetched. */
export async function verifyIdToken(
  token: string,
  metadata: ServerMetadata,
  { keys, secret = '' }: SignatureKeys
): Promise<void> {
  const { alg = '' } = decodeProtectedHeader(token)
  const clockTolerance = CLOCK_TOLERANCE_SECONDS
  if (alg.startsWith('HS') && secret !== '')
    await jwtVerify(token, new TextEncoder().encode(secret), { algorithms: [alg], clockTolerance })
  else await verifyWithNewestKeys(keys.of(metadata), token, { algorithms: [...ALGORITHMS], clockTolerance })
}

/** Verifies a token; a provider may rotate its key under the same id or without one. */
async function verifyWithNewestKeys(
  find: RemoteKeySet,
  token: string,
  options: JWTVerifyOptions
): Promise<void> {
  try {
    await verifyWithAnyKey(find, token, options)
  } catch (error) {
    if (!(error instanceof errors.JWSSignatureVerificationFailed) || find.coolingDown) throw error
    await find.reload()
    await verifyWithAnyKey(find, token, options)
  }
}
