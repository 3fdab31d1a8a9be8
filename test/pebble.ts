import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { authority } from './certificates.ts'
import { bodyOf, noOpenssl, type Scope } from './helpers.ts'
import { freePort } from './redis.ts'

/** Why tests with a real ACME server are left out here; false where they run. */
export const withoutPebble: string | false =
  noOpenssl ||
  (['pebble', 'pebble-challtestsrv'].every((name) => spawnSync(name, ['-h']).error === undefined)
    ? false
    : 'pebble is not installed: apt-get install pebble')

/** A real ACME server of a test, for which every host is this machine. */
export interface Pebble {
  readonly directory: string
  /** The authority that its own certificate is from, as a file. */
  readonly ca: string
  /** Where it looks for the answers to http-01 and tls-alpn-01. */
  readonly httpPort: number
  readonly tlsPort: number
  start(): Promise<void>
  kill(): Promise<void>
  /** Reads the authority that certificates are from, as PEM. */
  root(): Promise<string>
  /** Tells what its DNS has, or makes it forget that a host is this machine. */
  dns(command: string, said: object): Promise<void>
}

/** Starts an ACME server that forgets all at its end, and waits for nothing; it ends with the test. */
export async function pebble(
  t: Scope,
  {
    nonceReject = 0,
    externalAccounts,
    httpPort
  }: { nonceReject?: number; externalAccounts?: object; httpPort?: number } = {}
): Promise<Pebble> {
  const ports = { api: 0, management: 0, http: 0, tls: 0, dns: 0, dnsManagement: 0 }
  for (const name of Object.keys(ports) as (keyof typeof ports)[]) ports[name] = await freePort()
  if (httpPort !== undefined) ports.http = httpPort
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-pebble-'))
  const ca = authority(t)
  const own = ca.issue('/CN=pebble', 'DNS:localhost,IP:127.0.0.1')
  const config = join(dir, 'pebble.json')
  writeFileSync(
    config,
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${ports.api}`,
        managementListenAddress: `127.0.0.1:${ports.management}`,
        certificate: own.certFile,
        privateKey: own.keyFile,
        httpPort: ports.http,
        tlsPort: ports.tls,
        ocspResponderURL: '',
        externalAccountBindingRequired: externalAccounts !== undefined,
        ...(externalAccounts === undefined ? {} : { externalAccountMACKeys: externalAccounts }),
        certificateValidityPeriod: 3600
      }
    })
  )
  const children = new Map<string, ChildProcess>()
  const run = (name: string, args: string[], env: object = {}): void => {
    children.set(name, spawn(name, args, { stdio: 'ignore', env: { ...process.env, ...env } }))
  }
  const kill = async (name: string): Promise<void> => {
    const child = children.get(name)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const ask = (port: number, path: string): Promise<string> =>
    new Promise((resolve, reject) => {
      request({ host: '127.0.0.1', port, path, ca: ca.cert, agent: false }, (response) => {
        bodyOf(response).then((body) => resolve(body.toString()), reject)
      })
        .on('error', reject)
        .end()
    })
  const answering = async (port: number, path: string): Promise<void> => {
    while ((await ask(port, path).catch(() => '')) === '') await wait(20)
  }
  t.teardown(async () => {
    for (const name of children.keys()) await kill(name)
    rmSync(dir, { recursive: true, force: true })
  })
  run('pebble-challtestsrv', [
    ...['-http01', '', '-https01', '', '-tlsalpn01', '', '-defaultIPv6', ''],
    ...['-dns01', `127.0.0.1:${ports.dns}`, '-management', `127.0.0.1:${ports.dnsManagement}`]
  ])
  const made: Pebble = {
    directory: `https://localhost:${ports.api}/dir`,
    ca: ca.certFile,
    httpPort: ports.http,
    tlsPort: ports.tls,
    async start() {
      run('pebble', ['-config', config, '-dnsserver', `127.0.0.1:${ports.dns}`], {
        PEBBLE_VA_NOSLEEP: '1',
        PEBBLE_WFE_NONCEREJECT: String(nonceReject),
        // One order of a hundred is still taken as proven before: it compares the wrong way round.
        PEBBLE_AUTHZREUSE: '0'
      })
      await answering(ports.api, '/dir')
    },
    kill: () => kill('pebble'),
    root: () => ask(ports.management, '/roots/0'),
    async dns(command, said) {
      await fetch(`http://127.0.0.1:${ports.dnsManagement}/${command}`, {
        method: 'POST',
        body: JSON.stringify(said)
      })
    }
  }
  await made.start()
  return made
}
