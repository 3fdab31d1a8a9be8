import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { TlsOptions } from './options.ts'

/** A certificate, and the names that it is for. */
interface Served {
  readonly names: readonly string[]
  readonly context: SecureContext
}

// TLS 1.2 with forward secrecy and authenticated encryption alone (RFC 9325 section 4.2); TLS 1.3 has nothing else.
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305'
].join(':')

/** What the listening socket needs of TLS: the certificates of now, by the name that a client asks for. */
export class Edge {
  readonly http2: boolean
  readonly redirectFrom: number | undefined
  /** Whether clients are asked for a certificate, and whether one without gets no connection. */
  readonly asks: boolean
  readonly requires: boolean
  /** The files that it was read from; a change of one calls for a reload. */
  readonly files: readonly string[]
  /** What a server is opened with, and what its context becomes after a reload. */
  readonly options: SecureContextOptions
  readonly #served: readonly Served[]

  constructor({ certificates, http2, redirectFrom, minVersion, clientCertificates }: TlsOptions) {
    this.http2 = http2
    this.redirectFrom = redirectFrom
    this.asks = clientCertificates !== undefined
    this.requires = clientCertificates?.required === true
    this.files = [
      ...certificates.flatMap(({ cert, key }) => [cert, key]),
      ...(clientCertificates === undefined ? [] : [clientCertificates.ca])
    ]
    const common: SecureContextOptions = {
      minVersion,
      ciphers: CIPHERS,
      honorCipherOrder: true,
      ...(clientCertificates === undefined ? {} : { ca: readFileSync(clientCertificates.ca) })
    }
    const each = certificates.map(({ cert, key }) => {
      const said = { ...common, cert: readFileSync(cert), key: readFileSync(key) }
      return { said, names: namesOf(said.cert), context: createSecureContext(said) }
    })
    this.options = each[0]?.said ?? common
    this.#served = each
  }

  /** Finds the certificate for a host: by its name, then by a wildcard, else the first. */
  contextFor(host: string): SecureContext | undefined {
    const name = host.toLowerCase()
    const dot = name.indexOf('.')
    const wild = dot === -1 ? '' : `*${name.slice(dot)}`
    const found =
      this.#served.find(({ names }) => names.includes(name)) ??
      this.#served.find(({ names }) => names.includes(wild)) ??
      this.#served[0]
    return found?.context
  }
}

/** Reads the DNS names that a certificate is for (RFC 6125 section 6.4), in lower case. */
function namesOf(pem: Buffer): string[] {
  const { subjectAltName } = new X509Certificate(pem)
  return (subjectAltName ?? '')
    .split(/,\s*/)
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice(4).toLowerCase())
}
