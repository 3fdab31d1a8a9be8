import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeAuthority, type SignedPair, signCertificate } from '../lib/local-authority/sign.ts'
import { atEnd, type TestScope } from './scope.ts'

/** The files of a server certificate, and the certificate that clients have to trust, as PEM. */
export interface TestCertificate {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

let authority: Promise<SignedPair> | undefined

/** Writes a certificate for localhost and 127.0.0.1 to a folder that is removed at the end of a test. */
export async function makeCertificate(t: TestScope): Promise<TestCertificate> {
  authority ??= makeAuthority('a test')
  const { cert: ca } = await authority
  const { cert, key } = await signCertificate(await authority, ['localhost', '127.0.0.1'])
  const folder = await temporaryFolder(t)
  const files = { cert: join(folder, 'server.crt'), key: join(folder, 'server.key') }
  await writeFile(files.cert, cert)
  await writeFile(files.key, key, { mode: 0o600 })
  return { ...files, ca }
}

/** Makes a folder that is removed at the end of a test. */
export async function temporaryFolder(t: TestScope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sallyport-'))
  atEnd(t, () => rm(folder, { recursive: true, force: true }))
  return folder
}
