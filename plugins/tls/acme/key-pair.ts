import { X509Certificate } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import { hash32, unitInterval } from '../../../src/lib/hash.ts'
import { timings } from './timings.ts'

/** A certificate with its key, as PEM. */
export interface KeyPair {
  readonly pem: string
  /** When it expires, in milliseconds since 1970. */
  readonly expires: number
  readonly fingerprint: string
  /** When it is renewed unless the CA suggests another moment, in milliseconds since 1970; the same in every instance. */
  readonly renewAt: number
  /** When it is renewed at the latest. */
  readonly renewBy: number
}

/** Parses a key and its certificate; undefined if they can't be served. */
export function parseKeyPair(pem: string): KeyPair | undefined {
  try {
    createSecureContext({ key: pem, cert: pem })
    const { validFrom, validTo, fingerprint256 } = new X509Certificate(pem)
    const [starts, ends] = [Date.parse(validFrom), Date.parse(validTo)]
    const share = timings.renewAtShare - timings.renewJitter * unitInterval(hash32(fingerprint256))
    const lifetime = ends - starts
    return {
      pem,
      expires: ends,
      fingerprint: fingerprint256,
      renewAt: starts + lifetime * share,
      renewBy: starts + lifetime * timings.latestRenewShare
    }
  } catch {
    return undefined
  }
}
