/** How a certificate towards clients is doing. */
export interface CertificateState {
  readonly names: readonly string[]
  /** When it ends, in milliseconds since 1970; 0 where there is none yet. */
  readonly ends: number
  readonly from: 'files' | 'acme'
  /** Why there is none, or no newer one; without an address. */
  readonly trouble?: string
}

/** A certificate as people read of it. */
export interface ShownCertificate extends Omit<CertificateState, 'ends'> {
  /** In ISO 8601; null where there is none yet. */
  readonly ends: string | null
}

/** Shows people how a certificate is doing. */
export const showCertificate = ({ ends, ...state }: CertificateState): ShownCertificate => ({
  ...state,
  ends: ends === 0 ? null : new Date(ends).toISOString()
})
