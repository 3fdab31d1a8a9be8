import { constants, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { CertificateState } from '../../src/lib/contracts/certificates.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { Acme, Managed, Pair } from './acme/index.ts'
import type { TlsOptions } from './options.ts'

/** A certificate, and the names that it is for. */
interface ServedCertificate {
  readonly names: readonly string[]
  readonly ends: number
  readonly options: SecureContextOptions
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
export class TlsContext {
  readonly http2: boolean
  readonly redirectFrom: number | undefined
  /** Whether clients are asked for a certificate, and whether one without gets no connection. */
  readonly requestsCertificate: boolean
  readonly requiresCertificate: boolean
  /** The files that it was read from; a change of one calls for a reload. */
  readonly files: readonly string[]
  readonly #acme: Acme | undefined
  readonly #common: SecureContextOptions
  readonly #served: readonly ServedCertificate[]
  readonly #contexts = new WeakMap<Pair, SecureContext>()

  constructor(
    { certificates = [], http2, redirectFrom, minVersion, clientCertificates }: TlsOptions,
    acme: Acme | undefined
  ) {
    this.http2 = http2
    this.redirectFrom = redirectFrom
    this.requestsCertificate = clientCertificates !== undefined
    this.requiresCertificate = clientCertificates?.required === true
    this.files = [
      ...certificates.flatMap(({ cert, key }) => [cert, key]),
      ...(clientCertificates === undefined ? [] : [clientCertificates.ca])
    ]
    this.#acme = acme
    this.#common = {
      minVersion,
      ciphers: CIPHERS,
      honorCipherOrder: true,
      // A handshake in the middle of a connection is dear for us alone; TLS 1.3 has none.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(clientCertificates === undefined ? {} : { ca: readFileSync(clientCertificates.ca) })
    }
    this.#served = certificates.map(({ cert, key }) => {
      const options = { ...this.#common, cert: readFileSync(cert), key: readFileSync(key) }
      const { names, ends } = certificateInfo(options.cert)
      return { options, names, ends, context: createSecureContext(options) }
    })
  }

  /** What a server is opened with, and what its context becomes after a reload or a renewal. */
  get options(): SecureContextOptions {
    const [first] = this.#served
    if (first !== undefined) return first.options
    const pem = this.#issued()[0]?.pair.pem
    return pem === undefined ? this.#common : { ...this.#common, key: pem, cert: pem }
  }

  /** Tells whether a certificate from files is for a name. */
  hasFileFor(name: string): boolean {
    return findByName(this.#served, name) !== undefined
  }

  /** Finds the certificate for a host: by its name, then by a wildcard, else the first; of two, the one from files. */
  contextFor(host: string): SecureContext | undefined {
    const name = host.toLowerCase()
    const issued = this.#issued()
    const found =
      findByName<ServedCertificate | Issued>([...this.#served, ...issued], name) ??
      this.#served[0] ??
      issued[0]
    if (found === undefined) return undefined
    return 'context' in found ? found.context : this.#contextOf(found.pair)
  }

  /** Tells how every certificate is doing. */
  certificates(): readonly CertificateState[] {
    return [
      ...this.#served.map(({ names, ends }) => ({ names, ends, from: 'files' as const })),
      ...(this.#acme?.managed ?? []).map(({ names, pair, trouble }) => ({
        names,
        ends: pair?.expires ?? 0,
        from: 'acme' as const,
        ...(trouble === undefined ? {} : { trouble })
      }))
    ]
  }

  /** Begins to look after certificates that are renewed, and calls back whenever one has changed. */
  start(changed: () => void): void {
    this.#acme?.start(changed)
  }

  /** Finds the answer to an authority that asks by plain HTTP (http-01); undefined where there is none. */
  async httpChallengeResponse(token: string): Promise<string | undefined> {
    for (const challenges of this.#acme?.challenges ?? []) {
      const found = await challenges.httpResponse(token)
      if (found !== undefined) return found
    }
    return undefined
  }

  /** Tells whether authorities may ask by TLS (tls-alpn-01). */
  get usesAcme(): boolean {
    return this.#acme !== undefined
  }

  /** Finds the certificate for an authority that asks by TLS, where this instance ordered itself. */
  ownAlpnContext(host: string): SecureContext | undefined {
    return this.#acme?.challenges.map((each) => each.ownContext(host)).find((found) => found !== undefined)
  }

  /** Finds the certificate for an authority that asks by TLS, whoever ordered; rejects where there is none. */
  async alpnContext(host: string): Promise<SecureContext> {
    for (const challenges of this.#acme?.challenges ?? []) {
      const found = await challenges.alpnContext(host.toLowerCase())
      if (found !== undefined) return found
    }
    throw new Error(`nobody has asked an authority about ${host}`)
  }

  #issued(): Issued[] {
    return (this.#acme?.managed ?? []).filter(isIssued)
  }

  #contextOf(pair: Pair): SecureContext {
    return getOrCreate(this.#contexts, pair, () =>
      createSecureContext({ ...this.#common, key: pair.pem, cert: pair.pem })
    )
  }
}

type Issued = Managed & { readonly pair: Pair }

const isIssued = (managed: Managed): managed is Issued => managed.pair !== undefined

/** Picks what is for a name: by the name itself, then by a wildcard. */
function findByName<T extends { readonly names: readonly string[] }>(
  among: readonly T[],
  name: string
): T | undefined {
  const dot = name.indexOf('.')
  const wild = dot === -1 ? '' : `*${name.slice(dot)}`
  return among.find(({ names }) => names.includes(name)) ?? among.find(({ names }) => names.includes(wild))
}

/** Reads the DNS names that a certificate is for (RFC 6125 section 6.4), in lower case, and when it ends. */
function certificateInfo(pem: Buffer): { names: string[]; ends: number } {
  const { subjectAltName, validTo } = new X509Certificate(pem)
  const names = (subjectAltName ?? '')
    .split(/,\s*/)
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice(4).toLowerCase())
  return { names, ends: Date.parse(validTo) }
}
