import { constants, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls'
import type { CertificateState } from '../../src/lib/contracts/certificates.ts'
import { getOrCreate } from '../../src/lib/memoize.ts'
import type { Acme, Managed, Pair } from './acme/index.ts'
import type { TlsOptions } from './options.ts'

/** A certificate from files, and its names. */
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

/** The TLS settings of the listener, and the current certificates by host name. */
export class TlsContext {
  readonly http2: boolean
  readonly redirectFrom: number | undefined
  /** Whether a client certificate is requested, and whether it is required. */
  readonly requestsCertificate: boolean
  readonly requiresCertificate: boolean
  /** The certificate files; a change of one triggers a reload. */
  readonly files: readonly string[]
  readonly #acme: Acme | undefined
  readonly #baseOptions: SecureContextOptions
  readonly #fromFiles: readonly ServedCertificate[]
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
    this.#baseOptions = {
      minVersion,
      ciphers: CIPHERS,
      honorCipherOrder: true,
      // Renegotiation costs the server more than the client; TLS 1.3 has none.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(clientCertificates === undefined ? {} : { ca: readFileSync(clientCertificates.ca) })
    }
    this.#fromFiles = certificates.map(({ cert, key }) => {
      const options = { ...this.#baseOptions, cert: readFileSync(cert), key: readFileSync(key) }
      const { names, ends } = certificateInfo(options.cert)
      return { options, names, ends, context: createSecureContext(options) }
    })
  }

  /** The options of the server, and of its secure context after a reload or a renewal. */
  get options(): SecureContextOptions {
    const [first] = this.#fromFiles
    if (first !== undefined) return first.options
    const pem = this.#issued()[0]?.pair.pem
    return pem === undefined ? this.#baseOptions : { ...this.#baseOptions, key: pem, cert: pem }
  }

  /** Returns whether a certificate from files covers a name. */
  hasFileFor(name: string): boolean {
    return findByName(this.#fromFiles, name) !== undefined
  }

  /** Returns the certificate for a host: by its name, by a wildcard, else the first one. Certificates from files come first. */
  contextFor(host: string): SecureContext | undefined {
    const name = host.toLowerCase()
    const issued = this.#issued()
    const match =
      findByName<ServedCertificate | Issued>([...this.#fromFiles, ...issued], name) ??
      this.#fromFiles[0] ??
      issued[0]
    if (match === undefined) return undefined
    return 'context' in match ? match.context : this.#contextFor(match.pair)
  }

  /** Returns the state of every certificate. */
  certificates(): readonly CertificateState[] {
    return [
      ...this.#fromFiles.map(({ names, ends }) => ({ names, ends, from: 'files' as const })),
      ...(this.#acme?.managed ?? []).map(({ names, pair, failure: trouble }) => ({
        names,
        ends: pair?.expires ?? 0,
        from: 'acme' as const,
        ...(trouble === undefined ? {} : { trouble })
      }))
    ]
  }

  /** Starts to issue and renew; calls `onChange` whenever a certificate has changed. */
  start(onChange: () => void): void {
    this.#acme?.start(onChange)
  }

  /** Returns the response to an http-01 challenge; undefined if there is none. */
  async httpChallengeResponse(token: string): Promise<string | undefined> {
    for (const challenges of this.#acme?.challenges ?? []) {
      const match = await challenges.httpResponse(token)
      if (match !== undefined) return match
    }
    return undefined
  }

  /** Whether tls-alpn-01 challenges may come. */
  get usesAcme(): boolean {
    return this.#acme !== undefined
  }

  /** Returns whether there is a certificate for a host, from files or issued. */
  hasCertificateFor(host: string): boolean {
    return findByName([...this.#fromFiles, ...this.#issued()], host.toLowerCase()) !== undefined
  }

  /** Returns whether a CA may be checking a host now: its certificate is due, or there is none. */
  mayBeChallenged(host: string): boolean {
    if (this.#acme === undefined) return false
    const managed = findByName(this.#acme.managed, host.toLowerCase())
    return managed === undefined ? !this.hasCertificateFor(host) : managed.isDue
  }

  /** Returns the tls-alpn-01 certificate of an order of this instance; undefined if there is none. */
  ownAlpnContext(host: string): SecureContext | undefined {
    return this.#acme?.challenges.map((each) => each.ownContext(host)).find((match) => match !== undefined)
  }

  /** Returns the tls-alpn-01 certificate of an order of any instance; rejects if there is none. */
  async alpnContext(host: string): Promise<SecureContext> {
    for (const challenges of this.#acme?.challenges ?? []) {
      const match = await challenges.alpnContext(host.toLowerCase())
      if (match !== undefined) return match
    }
    throw new Error(`no tls-alpn-01 challenge is pending for ${host}`)
  }

  #issued(): Issued[] {
    return (this.#acme?.managed ?? []).filter(isIssued)
  }

  #contextFor(pair: Pair): SecureContext {
    return getOrCreate(this.#contexts, pair, () =>
      createSecureContext({ ...this.#baseOptions, key: pair.pem, cert: pair.pem })
    )
  }
}

type Issued = Managed & { readonly pair: Pair }

const isIssued = (managed: Managed): managed is Issued => managed.pair !== undefined

/** Finds an entry by the name itself, then by a wildcard. */
function findByName<T extends { readonly names: readonly string[] }>(
  among: readonly T[],
  name: string
): T | undefined {
  const dot = name.indexOf('.')
  const wild = dot === -1 ? '' : `*${name.slice(dot)}`
  return among.find(({ names }) => names.includes(name)) ?? among.find(({ names }) => names.includes(wild))
}

/** Reads the DNS names of a certificate (RFC 6125 section 6.4), in lower case, and its expiry. */
function certificateInfo(pem: Buffer): { names: string[]; ends: number } {
  const { subjectAltName, validTo } = new X509Certificate(pem)
  const names = (subjectAltName ?? '')
    .split(/,\s*/)
    .filter((name) => name.startsWith('DNS:'))
    .map((name) => name.slice(4).toLowerCase())
  return { names, ends: Date.parse(validTo) }
}
