import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { homedir, hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { wall } from '../../lib/clock.ts'
import { makeAuthority, type SignedPair, signCertificate } from '../../lib/local-authority/sign.ts'
import { CommandError } from '../outcome.ts'

const DAY_MS = 86_400_000
// Of seven days; an authority of ten years is replaced so early that nobody is surprised.
const RENEW_CERTIFICATE_MS = 3 * DAY_MS
const RENEW_AUTHORITY_MS = 30 * DAY_MS

/** The certificate authority of a user of this machine, in a folder of the user's data. */
export interface LocalAuthority {
  /** The file of its certificate, which clients have to trust. */
  readonly root: string
  /** Whether it was made just now, so that no client trusts it yet. */
  readonly isNew: boolean
  /** Returns the file of a certificate for some names, with its key; makes or renews it where that is due. */
  certificateFor(names: readonly string[]): Promise<string>
}

/** Opens the local authority in a folder; makes one if there is none, or if it ends soon. */
export async function openLocalAuthority(folder = dataFolder()): Promise<LocalAuthority> {
  try {
    return await open(folder)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof CommandError || code === undefined) throw error
    throw new CommandError(
      `The local authority in ${folder} can't be used (${code}); XDG_DATA_HOME names another folder`
    )
  }
}

/** Returns the folder of Sallyport for data of this user (XDG Base Directory Specification). */
function dataFolder(): string {
  const base = process.env['XDG_DATA_HOME'] || join(homedir(), '.local', 'share')
  return join(base, 'sallyport')
}

async function open(folder: string): Promise<LocalAuthority> {
  const authorityFolder = join(folder, 'local-authority')
  const certificates = join(folder, 'local-certificates')
  await mkdir(certificates, { recursive: true, mode: 0o700 })
  const existing = await readAuthority(authorityFolder)
  const authority = existing ?? (await addAuthority(folder, authorityFolder))
  return {
    root: join(authorityFolder, 'root.crt'),
    isNew: existing === undefined,
    async certificateFor(names) {
      const file = join(certificates, `${(names[0] ?? 'localhost').replaceAll(':', '-')}.pem`)
      if (await isDue(file, authority, names)) {
        const { cert, key } = await signCertificate(authority, names)
        await replaceFile(file, key + cert)
      }
      return file
    }
  }
}

/** Reads the authority; undefined if there is none. One that ends soon is deleted. */
async function readAuthority(folder: string): Promise<SignedPair | undefined> {
  const cert = await readIfThere(join(folder, 'root.crt'))
  const key = await readIfThere(join(folder, 'root.key'))
  if (cert === undefined && key === undefined) return undefined
  const root = cert === undefined || key === undefined ? undefined : certificateOf(cert, key)
  if (cert === undefined || key === undefined || root === undefined)
    throw new CommandError(
      `The local authority in ${folder} is damaged; delete this folder, and the next start makes a new one`
    )
  if (!endsWithin(root, RENEW_AUTHORITY_MS)) return { cert, key }
  await rm(folder, { recursive: true, force: true })
  return undefined
}

/** Makes an authority in a folder that appears with both files, so that two processes that start together use the same. */
async function addAuthority(folder: string, authorityFolder: string): Promise<SignedPair> {
  const made = await makeAuthority(`${userInfo().username}@${hostname()}`)
  const temporary = join(folder, `new-${randomBytes(6).toString('hex')}`)
  try {
    await mkdir(temporary, { mode: 0o700 })
    await writeFile(join(temporary, 'root.key'), made.key, { mode: 0o600 })
    await writeFile(join(temporary, 'root.crt'), made.cert, { mode: 0o644 })
    await rename(temporary, authorityFolder)
    return made
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    const other = await readAuthority(authorityFolder)
    if (other === undefined) throw error
    return other
  }
}

/** Reads a certificate; undefined if it is malformed, or if the key is not its own. */
function certificateOf(cert: string, key: string): X509Certificate | undefined {
  try {
    const parsed = new X509Certificate(cert)
    return parsed.checkPrivateKey(createPrivateKey(key)) ? parsed : undefined
  } catch {
    return undefined
  }
}

async function isDue(file: string, authority: SignedPair, names: readonly string[]): Promise<boolean> {
  const pem = (await readIfThere(file)) ?? ''
  const cert = certificateOf(pem, pem)
  return (
    cert === undefined ||
    endsWithin(cert, RENEW_CERTIFICATE_MS) ||
    !cert.verify(new X509Certificate(authority.cert).publicKey) ||
    names.some((name) => (isIP(name) === 0 ? cert.checkHost(name) : cert.checkIP(name)) === undefined)
  )
}

const endsWithin = ({ validToDate }: X509Certificate, ms: number): boolean =>
  validToDate.getTime() - wall() < ms

/** Replaces a file as a whole: the certificate and its key change together. */
async function replaceFile(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  await writeFile(temporary, text, { mode: 0o600, flag: 'wx' })
  await rename(temporary, file)
}

const readIfThere = (file: string): Promise<string | undefined> =>
  readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    ignoreMissing(error)
    return undefined
  })

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
