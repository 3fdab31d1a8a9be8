import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { FastifyInstance } from 'fastify'
import { fp, type OptionFault } from '../../src/kit/index.ts'
import { unreadable } from '../../src/lib/unreadable.ts'
import { Acme, type AcmeOptions, acmeFaults } from './acme/index.ts'
import { TlsContext } from './context.ts'
import { options, type TlsOptions } from './options.ts'

export const key = 'tls'

export { options }
export const override = false
export const rootOnly = true
export type { TlsOptions }

/** Tells what is wrong with the files: a reload with a broken one is refused, and the certificates from before go on. */
export function faults({ certificates = [], acme, clientCertificates }: TlsOptions): OptionFault[] {
  const found: OptionFault[] = []
  if (certificates.length === 0 && acme === undefined)
    found.push({ path: [], message: 'There is no certificate; say "certificates", "acme", or both' })
  const read = (path: (string | number)[], file: string): Buffer | undefined => {
    try {
      return readFileSync(file)
    } catch (error) {
      found.push({ path, message: unreadable(file, error) })
      return undefined
    }
  }
  for (const [i, { cert, key: keyFile }] of certificates.entries()) {
    const pem = read(['certificates', i, 'cert'], cert)
    const secret = read(['certificates', i, 'key'], keyFile)
    if (pem === undefined || secret === undefined) continue
    const wrong = pairFault(pem, cert, secret, keyFile)
    if (wrong !== undefined) found.push({ path: ['certificates', i, wrong.option], message: wrong.message })
  }
  const authority = (path: (string | number)[], file: string | undefined): void => {
    if (file === undefined) return
    const pem = read(path, file)
    if (pem !== undefined && !isCertificate(pem))
      found.push({ path, message: `The file ${file} holds no certificate as PEM` })
  }
  authority(['clientCertificates', 'ca'], clientCertificates?.ca)
  for (const { said, path } of accountsOf(acme)) {
    found.push(...acmeFaults(said).map((fault) => ({ ...fault, path: [...path, ...fault.path] })))
    authority([...path, 'ca'], said.ca)
  }
  return found
}

/** Spells out the accounts that are said, each with its place. */
function accountsOf(acme: TlsOptions['acme']): { said: AcmeOptions; path: (string | number)[] }[] {
  if (acme === undefined) return []
  return Array.isArray(acme)
    ? (acme as readonly AcmeOptions[]).map((said, i) => ({ said, path: ['acme', i] }))
    : [{ said: acme as AcmeOptions, path: ['acme'] }]
}

function pairFault(
  cert: Buffer,
  certFile: string,
  key: Buffer,
  keyFile: string
): { option: 'cert' | 'key'; message: string } | undefined {
  if (!isCertificate(cert))
    return { option: 'cert', message: `The file ${certFile} holds no certificate as PEM` }
  try {
    createSecureContext({ cert, key })
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return {
      option: 'key',
      message:
        code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
          ? `The key ${keyFile} is not that of the certificate ${certFile}`
          : `The file ${keyFile} holds no private key as PEM without a passphrase`
    }
  }
}

function isCertificate(pem: Buffer): boolean {
  try {
    return new X509Certificate(pem).subject !== ''
  } catch {
    return false
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    /** What the listening socket needs of TLS; null for plain HTTP. */
    tls: TlsContext | null
  }
}

/** Lists the hosts that routes name and that a certificate can be for. */
function hostsOf({ routeInfos }: FastifyInstance): string[] {
  const hosts = routeInfos.filter(({ kind }) => kind === 'config').flatMap((route) => route.hosts)
  return [...new Set(hosts.map((host) => host.toLowerCase()))].filter(
    (host) => host.includes('.') && isIP(host) === 0
  )
}

export default fp<TlsOptions>(
  async function tls(app, root) {
    const { acme: said } = root
    const acme =
      said === undefined
        ? undefined
        : new Acme(
            app,
            accountsOf(said).map(({ said }) => said)
          )
    const edge = new TlsContext(root, acme)
    app.tls = edge
    if (acme === undefined) return
    app.addHook('onReady', async function openCertificates() {
      const hosts = hostsOf(app).filter((host) => !edge.hasFileFor(host))
      await acme.open({ hosts, redirects: edge.redirectFrom !== undefined })
    })
    app.addHook('onClose', async function closeCertificates() {
      await acme.close()
    })
  },
  { name: key, fastify: '5.x' }
)
