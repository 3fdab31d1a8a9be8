import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Scope } from './helpers.ts'

/** A certificate and its key, as files and as what is in them. */
export interface Pair {
  readonly certFile: string
  readonly keyFile: string
  readonly cert: Buffer
  readonly key: Buffer
}

/** An authority of a test, which makes certificates; its files go with the test. */
export interface Authority extends Pair {
  /** Makes a certificate for a subject such as "/CN=ada", with alternative names such as "DNS:localhost". */
  issue(subject: string, names: string): Pair
}

let made = 0

/** Makes an authority by openssl. */
export function authority(t: Scope): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-ca-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const openssl = (...args: string[]): void =>
    void execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' })
  const pair = (name: string): Pair => {
    const certFile = join(folder, `${name}.pem`)
    const keyFile = join(folder, `${name}.key`)
    return { certFile, keyFile, cert: readFileSync(certFile), key: readFileSync(keyFile) }
  }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl(
    'req',
    '-x509',
    ...newKey,
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
    '-days',
    '2',
    '-subj',
    '/CN=test authority'
  )
  return {
    ...pair('ca'),
    issue(subject, names) {
      const name = `leaf${made++}`
      writeFileSync(join(folder, `${name}.ext`), `subjectAltName=${names}\n`)
      openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
      openssl(
        ...['x509', '-req', '-in', `${name}.csr`, '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial'],
        ...['-out', `${name}.pem`, '-days', '2', '-extfile', `${name}.ext`]
      )
      return pair(name)
    }
  }
}
