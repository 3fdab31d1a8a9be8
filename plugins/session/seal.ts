import { hkdfSync } from 'node:crypto'
import { EncryptJWT, jwtDecrypt } from 'jose'

/** Keeps something with the browser that it can neither read nor change. */
export interface Seal {
  /** Seals a value for some seconds and one purpose. */
  close(purpose: string, value: object, seconds: number): Promise<string>
  /** Opens what was sealed for a purpose; undefined for anything else, and for what is too old. */
  open(purpose: string, sealed: string): Promise<Readonly<Record<string, unknown>> | undefined>
}

const LONGEST = 8192

/** Makes a seal of the session's secrets (RFC 7516, "dir" with A256GCM; keys by RFC 5869): the first seals, all open. */
export function makeSeal(secrets: readonly string[]): Seal {
  const keys = secrets.map(
    (secret) => new Uint8Array(hkdfSync('sha256', secret, 'sallyport', 'what a browser keeps', 32))
  )
  const [first = new Uint8Array()] = keys
  return {
    close: (purpose, value, seconds) =>
      new EncryptJWT({ value })
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
        .setAudience(purpose)
        .setIssuedAt()
        .setExpirationTime(`${seconds}s`)
        .encrypt(first),
    async open(purpose, sealed) {
      if (sealed.length > LONGEST) return undefined
      for (const key of keys)
        try {
          const { payload } = await jwtDecrypt<{ value: Record<string, unknown> }>(sealed, key, {
            audience: purpose,
            keyManagementAlgorithms: ['dir'],
            contentEncryptionAlgorithms: ['A256GCM'],
            requiredClaims: ['exp']
          })
          return payload.value
        } catch {
          // Another secret may have sealed it, or nobody of ours.
        }
      return undefined
    }
  }
}
