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

export { comparison } from './compare.ts'

export const key = 'tls'

export { options }
export const override = false
export const stateless = true
export const rootOnly = true
export type { TlsOptions }

/** Checks the certificate files: a reload with an invalid one is rejected, and the current certificates stay. */
export function faults({ certificates = [], acme, clientCertificates }: TlsOptions): OptionFault[] {
  const list: OptionFault[] = []
  if (certificates.length === 0 && acme === undefined)
    list.push({ path: [], message: 'expected "certificates", "acme" or both, got neither' })
  const read = (path: (string | number)[], file: string): Buffer | undefined => {
    try {
      return readFileSync(file)
    } catch (error) {
      list.push({ path, message: unreadable(file, error) })
      return undefined
    }
  }
  for (const [i, { cert, key: keyFile }] of certificates.entries()) {
    const pem = read(['certificates', i, 'cert'], cert)
    const keyPem = read(['certificates', i, 'key'], keyFile)
    if (pem === undefined || keyPem === undefined) continue
    const fault = pairFault(pem, cert, keyPem, keyFile)
    if (fault !== undefined) list.push({ path: ['certificates', i, fault.option], message: fault.message })
  }
  const checkCa = (path: (string | number)[], file: string | undefined): void => {
    if (file === undefined) return
    const pem = read(path, file)
    if (pem !== undefined && !isCertificate(pem))
      list.push({ path, message: `The file ${file} contains no certificate in PEM format` })
  }
  checkCa(['clientCertificates', 'ca'], clientCertificates?.ca)
  for (const { account, path } of accountsOf(acme)) {
    list.push(...acmeFaults(account).map((fault) => ({ ...fault, path: [...path, ...fault.path] })))
    checkCa([...path, 'ca'], account.ca)
    checkCa([...path, 'fallback', 'ca'], account.fallback?.ca)
  }
  return list
}

/** Lists the accounts with their paths in the config. */
function accountsOf(acme: TlsOptions['acme']): { account: AcmeOptions; path: (string | number)[] }[] {
  if (acme === undefined) return []
  return Array.isArray(acme)
    ? (acme as readonly AcmeOptions[]).map((account, i) => ({ account, path: ['acme', i] }))
    : [{ account: acme as AcmeOptions, path: ['acme'] }]
}

function pairFault(
  cert: Buffer,
  certFile: string,
  key: Buffer,
  keyFile: string
): { option: 'cert' | 'key'; message: string } | undefined {
  if (!isCertificate(cert))
    return { option: 'cert', message: `The file ${certFile} contains no certificate in PEM format` }
  try {
    createSecureContext({ cert, key })
    return undefined
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return {
      option: 'key',
      message:
        code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
          ? `The key ${keyFile} does not belong to the certificate ${certFile}`
          : `The file ${keyFile} contains no private key in PEM format without a passphrase`
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
    /** The TLS settings of the listener; null for plain HTTP. */
    tls: TlsContext | null
    /** @deprecated Use `tls`. */
    readonly edge: TlsContext | null
  }
}

/** Returns the hosts of the routes that a certificate can be issued for. */
function hostsOf({ routeInfos }: FastifyInstance): string[] {
  const hosts = routeInfos.filter(({ kind }) => kind === 'config').flatMap((route) => route.hosts)
  return [...new Set(hosts.map((host) => host.toLowerCase()))].filter(
    (host) => host.includes('.') && isIP(host) === 0
  )
}

export default fp<TlsOptions>(
  async function tls(app, root) {
    const { acme: accounts } = root
    const acme =
      accounts === undefined
        ? undefined
        : new Acme(
            app,
            accountsOf(accounts).map(({ account }) => account)
          )
    const context = new TlsContext(root, acme)
    app.tls = context
    if (acme === undefined || app.simulation !== null) return
    app.addHook('onReady', async function openCertificates() {
      const hosts = hostsOf(app).filter((host) => !context.hasFileFor(host))
      await acme.open({ hosts, redirects: context.redirectFrom !== undefined })
    })
    app.addHook('onClose', async function closeCertificates() {
      await acme.close()
    })
  },
  { name: key, fastify: '5.x' }
)
