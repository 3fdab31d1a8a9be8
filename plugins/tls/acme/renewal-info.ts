import { X509Certificate } from 'node:crypto'
import { wall } from '../../../src/lib/clock.ts'
import { isObject } from '../../../src/lib/schema.ts'
import type { Session } from './account.ts'
import { timings } from './timings.ts'

/** When the CA suggests to renew a certificate (RFC 9773), as stored for all instances. */
export interface RenewalInfo {
  /** The fingerprint of the certificate that it is about. */
  readonly certificate: string
  /** The suggested window, in milliseconds since 1970; undefined where the CA suggests none. */
  readonly window: { readonly start: number; readonly end: number } | undefined
  /** When to renew: a random moment in the window. */
  readonly renewAt: number | undefined
  /** When to ask the CA again. */
  readonly checkAt: number
  /** A page of the CA about an unusual window. */
  readonly explanation: string | undefined
}

/** Asks the CA when to renew a certificate. The moment of `previous` stays while the window does. */
export async function fetchRenewalInfo(
  { transport }: Session,
  pem: string,
  previous: RenewalInfo | undefined
): Promise<RenewalInfo> {
  const { fingerprint256: certificate } = new X509Certificate(pem)
  const { renewalInfo } = await transport.directory()
  const none = {
    certificate,
    window: undefined,
    renewAt: undefined,
    explanation: undefined,
    checkAt: wall() + withJitter(timings.renewalInfoInterval)
  }
  if (typeof renewalInfo !== 'string') return none
  const { data, retryAfter } = await transport.get(`${renewalInfo}/${await certificateId(pem)}`)
  const asked = retryAfter === 0 ? timings.renewalInfoInterval : retryAfter
  const pause = Math.min(Math.max(asked, timings.minRenewalInfoInterval), timings.maxRenewalInfoInterval)
  const checkAt = wall() + withJitter(pause)
  const window = windowIn(data)
  if (window === undefined) return { ...none, checkAt }
  const isSame =
    previous?.certificate === certificate &&
    previous.window?.start === window.start &&
    previous.window.end === window.end
  const explanation = isObject(data) ? data['explanationURL'] : undefined
  return {
    certificate,
    window,
    renewAt: isSame ? previous.renewAt : window.start + Math.random() * (window.end - window.start),
    checkAt,
    explanation: typeof explanation === 'string' ? explanation.slice(0, MAX_URL_LENGTH) : undefined
  }
}

/** Returns the state after a failed request: what is known stays, and the CA is asked again later. */
export const keptRenewalInfo = (certificate: string, previous: RenewalInfo | undefined): RenewalInfo => ({
  window: undefined,
  renewAt: undefined,
  explanation: undefined,
  ...(previous?.certificate === certificate ? previous : {}),
  certificate,
  checkAt: wall() + withJitter(timings.renewalInfoRetry)
})

const MAX_URL_LENGTH = 500

/** Parses stored information; undefined for none or an invalid one. */
export function parseRenewalInfo(text: string | undefined): RenewalInfo | undefined {
  try {
    const found: unknown = JSON.parse(text ?? '')
    return isObject(found) && typeof found['certificate'] === 'string' && Number.isFinite(found['checkAt'])
      ? (found as unknown as RenewalInfo)
      : undefined
  } catch {
    return undefined
  }
}

/** Returns the identifier of a certificate at its CA (RFC 9773 section 4.1). */
export async function certificateId(pem: string): Promise<string> {
  const { AuthorityKeyIdentifierExtension, X509Certificate: Parsed } = await import('@peculiar/x509')
  const { serialNumber, raw } = new X509Certificate(pem)
  const { extensions } = new Parsed(raw)
  const authority = extensions.find((each) => each instanceof AuthorityKeyIdentifierExtension)
  const keyId = authority instanceof AuthorityKeyIdentifierExtension ? authority.keyId : undefined
  if (keyId === undefined) throw new Error('the certificate has no authority key identifier')
  const even = serialNumber.length % 2 === 0 ? serialNumber : `0${serialNumber}`
  // DER keeps an integer positive by a leading zero byte.
  const serial = /^[89a-f]/i.test(even) ? `00${even}` : even
  return `${base64url(keyId)}.${base64url(serial)}`
}

const base64url = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url')

function windowIn(data: unknown): RenewalInfo['window'] {
  const suggested = isObject(data) ? data['suggestedWindow'] : undefined
  if (!isObject(suggested)) return undefined
  const [start, end] = [Date.parse(String(suggested['start'])), Date.parse(String(suggested['end']))]
  return Number.isFinite(start) && end > start ? { start, end } : undefined
}

// Spreads the requests of gateways that started at the same time.
const withJitter = (ms: number): number => ms * (0.9 + Math.random() / 5)
