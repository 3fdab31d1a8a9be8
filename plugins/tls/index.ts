import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { fp, type OptionFault } from '../../src/kit/index.ts'
import { Edge } from './edge.ts'
import { options, type TlsOptions } from './options.ts'

export const key = 'tls'

export { options }
export const override = false
export type { TlsOptions }

/** Tells what is wrong with the files: a reload with a broken one is refused, and the certificates from before go on. */
export function faults({ certificates, clientCertificates }: TlsOptions): OptionFault[] {
  const found: OptionFault[] = []
  const read = (path: (string | number)[], file: string): Buffer | undefined => {
    try {
      return readFileSync(file)
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      found.push({ path, message: `The file ${file} can't be read (${code})` })
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
  if (clientCertificates !== undefined) {
    const pem = read(['clientCertificates', 'ca'], clientCertificates.ca)
    if (pem !== undefined && !isCertificate(pem))
      found.push({
        path: ['clientCertificates', 'ca'],
        message: `The file ${clientCertificates.ca} holds no certificate as PEM`
      })
  }
  return found
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
    edge: Edge | null
  }
}

export default fp<TlsOptions>(
  async function tls(app, root) {
    app.edge = new Edge(root)
  },
  { name: key, fastify: '5.x' }
)
