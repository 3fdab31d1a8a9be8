/** The state of a server certificate. */
export interface CertificateState {
  readonly names: readonly string[]
  /** When it expires, in milliseconds since 1970; 0 before it is issued. */
  readonly ends: number
  readonly from: 'files' | 'acme'
  /** Why issuance or renewal failed; contains no address. */
  readonly trouble?: string
}

/** The state of a certificate as /status shows it. */
export interface ShownCertificate extends Omit<CertificateState, 'ends'> {
  /** In ISO 8601; null before it is issued. */
  readonly ends: string | null
}

/** Formats the state of a certificate for /status. */
export const showCertificate = ({ ends, ...state }: CertificateState): ShownCertificate => ({
  ...state,
  ends: ends === 0 ? null : new Date(ends).toISOString()
})
