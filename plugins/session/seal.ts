import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

/** Authenticated encryption for text that a browser carries. */
export interface Seal {
  /** Encrypts a text for one purpose. */
  encrypt(purpose: string, text: string): string
  /** Decrypts a text of the same purpose; undefined for anything else. */
  decrypt(purpose: string, sealed: string): string | undefined
}

const MAX_LENGTH = 4096
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** Makes a seal from the session secrets (AES-256-GCM, keys derived by RFC 5869): the first encrypts, all decrypt. */
export function makeSeal(secrets: readonly string[]): Seal {
  const keys = secrets.map((secret) =>
    Buffer.from(hkdfSync('sha256', secret, 'sallyport', 'sealed text', 32))
  )
  const [first = Buffer.alloc(32)] = keys
  return {
    encrypt(purpose, text) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', first, nonce).setAAD(Buffer.from(purpose))
      const encrypted = [cipher.update(text, 'utf8'), cipher.final()]
      return Buffer.concat([nonce, ...encrypted, cipher.getAuthTag()]).toString('base64url')
    },
    decrypt(purpose, sealed) {
      const bytes = Buffer.from(sealed.slice(0, MAX_LENGTH), 'base64url')
      // Only the canonical encoding is accepted.
      if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.toString('base64url') !== sealed) return undefined
      for (const key of keys)
        try {
          const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
            authTagLength: TAG_BYTES
          })
          decipher.setAAD(Buffer.from(purpose)).setAuthTag(bytes.subarray(-TAG_BYTES))
          const text = [decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]
          return Buffer.concat(text).toString()
        } catch {
          // The next secret may fit.
        }
      return undefined
    }
  }
}
