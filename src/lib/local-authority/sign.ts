import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import { wall } from '../clock.ts'
import { DOMAINS, NETWORKS } from './names.ts'

/** A certificate and its private key, as PEM. */
export interface SignedPair {
  readonly cert: string
  readonly key: string
}

const DAY_MS = 86_400_000
const AUTHORITY_DAYS = 3650
const CERTIFICATE_DAYS = 7
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** Makes a certificate authority for ten years. Its name constraints (RFC 5280 section 4.2.1.10) make it useless for public names, even to a thief of its key. */
export async function makeAuthority(owner: string): Promise<SignedPair> {
  const x509 = await import('@peculiar/x509')
  const { GeneralName, GeneralSubtree, GeneralSubtrees, NameConstraints, id_ce_nameConstraints } =
    await import('@peculiar/asn1-x509')
  const { AsnConvert } = await import('@peculiar/asn1-schema')
  const permitted = [
    ...DOMAINS.map((dNSName) => new GeneralName({ dNSName })),
    ...NETWORKS.map((iPAddress) => new GeneralName({ iPAddress }))
  ]
  const constraints = new NameConstraints({
    permittedSubtrees: new GeneralSubtrees(permitted.map((base) => new GeneralSubtree({ base })))
  })
  const keys = await webcrypto.subtle.generateKey(ECDSA, true, ['sign', 'verify'])
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['Sallyport'] }, { CN: [`Sallyport local authority of ${owner}`] }],
    keys,
    ...validFor(AUTHORITY_DAYS),
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      new x509.Extension(id_ce_nameConstraints, true, AsnConvert.serialize(constraints))
    ]
  })
  return pairOf(cert, keys.privateKey)
}

/** Signs a server certificate for some names and addresses, for a week; the certificate of the authority is not part of it. */
export async function signCertificate(authority: SignedPair, names: readonly string[]): Promise<SignedPair> {
  const x509 = await import('@peculiar/x509')
  const issuer = new x509.X509Certificate(authority.cert)
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    x509.PemConverter.decodeFirst(authority.key),
    ECDSA,
    false,
    ['sign']
  )
  const keys = await webcrypto.subtle.generateKey(ECDSA, true, ['sign', 'verify'])
  const cert = await x509.X509CertificateGenerator.create({
    subject: [{ O: ['Sallyport'] }, { OU: ['local certificate'] }],
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey,
    ...validFor(CERTIFICATE_DAYS),
    signingAlgorithm: ECDSA,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      new x509.SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value }))
      )
    ]
  })
  return pairOf(cert, keys.privateKey)
}

/** Returns a period that began an hour ago, for clients whose clocks are late. */
function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = wall()
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + days * DAY_MS) }
}

async function pairOf(
  cert: { toString(format: 'pem'): string },
  privateKey: webcrypto.CryptoKey
): Promise<SignedPair> {
  const { PemConverter } = await import('@peculiar/x509')
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', privateKey)
  return { cert: `${cert.toString('pem')}\n`, key: `${PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n` }
}
