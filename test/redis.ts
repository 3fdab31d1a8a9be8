import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'

/** Why tests with a real Redis are left out here; false where they run. */
export const withoutRedis: string | false =
  spawnSync('redis-server', ['--version']).error === undefined
    ? false
    : 'redis-server is not installed: apt-get install redis-server'

/** A real Redis of a test: it can be killed, brought back and made to hang. */
export interface RealRedis {
  readonly port: number
  readonly url: string
  start(): Promise<void>
  kill(): Promise<void>
  /** Stops the process without closing its connections; `go` lets it go on. */
  hang(): void
  go(): void
}

/** Starts a Redis that keeps nothing on disk; it ends with the test. */
export async function redis(t: Pick<Test, 'teardown'>, args: readonly string[] = []): Promise<RealRedis> {
  const port = await freePort()
  const dir = mkdtempSync(join(tmpdir(), 'sallyport-redis-'))
  let child: ChildProcess | undefined
  const made: RealRedis = {
    port,
    url: `redis://127.0.0.1:${port}`,
    async start() {
      child = spawn(
        'redis-server',
        [
          '--port',
          String(port),
          '--bind',
          '127.0.0.1',
          '--save',
          '',
          '--appendonly',
          'no',
          '--dir',
          dir,
          ...args
        ],
        { stdio: 'ignore' }
      )
      await answering(port)
    },
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
    hang: () => void child?.kill('SIGSTOP'),
    go: () => void child?.kill('SIGCONT')
  }
  t.teardown(async () => {
    made.go()
    await made.kill()
    rmSync(dir, { recursive: true, force: true })
  })
  await made.start()
  return made
}

/** Finds a free port outside of the ephemeral range, so that no other test gets it before it is used. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 32_000)
    const server = createServer().listen(port, '127.0.0.1')
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false
    )
    if (!isFree) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

async function answering(port: number): Promise<void> {
  // One that wants a password listens, too.
  await until(() => /PONG|NOAUTH/.test(said(port, 'ping')))
}

const said = (port: number, ...args: readonly string[]): string =>
  spawnSync('redis-cli', ['-p', String(port), ...args]).stdout.toString()

/** Asks a Redis by its own command line. */
export const cli = (port: number, ...args: readonly string[]): string =>
  execFileSync('redis-cli', ['-p', String(port), ...args], { stdio: ['ignore', 'pipe', 'ignore'] }).toString()

/** Waits until gateways have stored so many values of their caches: a response does not wait for that. */
export const stored = ({ port }: RealRedis, count: number): Promise<void> =>
  until(() => cli(port, 'keys', 'sallyport:cache:*').split('\n').filter(Boolean).length >= count)

/** Polls until a condition in another process is true. */
export async function until(come: () => boolean): Promise<void> {
  while (!come()) await wait(20)
}
