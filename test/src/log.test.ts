import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Sink } from '../../src/process/log-destination.ts'
import { ask, BIN, clean } from '../helpers.ts'

const CONFIG = '{ "routes": [{ "path": "/*", "respond": { "body": "here" } }] }'

/** Finds a port that is free, for a process whose log can't tell. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Runs a gateway with this log destination, and waits until it responds. */
async function logging(
  t: Test,
  stdout: number | 'pipe'
): Promise<{ url: string; stop(): Promise<number | null>; stdout: NodeJS.ReadableStream | null }> {
  const port = await freePort()
  const child = spawn(process.execPath, [BIN], {
    cwd: t.testdir({ 'gateway.json': CONFIG }),
    env: { ...clean, PORT: String(port), ADMIN_PORT: '' },
    stdio: ['ignore', stdout, 'inherit']
  })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  t.teardown(() => child.kill('SIGKILL'))
  const url = `http://127.0.0.1:${port}`
  while ((await ask(url).catch(() => undefined)) === undefined) {
    const code = child.exitCode ?? child.signalCode
    if (code !== null) throw new Error(`the gateway has ended with ${code}`)
    await setTimeout(10)
  }
  return {
    url,
    stdout: child.stdout,
    stop() {
      child.kill('SIGTERM')
      return ended
    }
  }
}

/** Asks so often that the log is far more than a pipe takes. */
async function askALot(t: Test, url: string): Promise<void> {
  const path = `/${'x'.repeat(5000)}`
  let good = 0
  for (let i = 0; i < 10; i++) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(url + path)))
    good += answers.filter(({ status }) => status === 200).length
  }
  t.equal(good, 200)
}

t.test('a failing log destination never stops the gateway', async (t) => {
  t.test('keeps serving and stops on SIGTERM with a full disk', async (t) => {
    const full = openSync('/dev/full', 'w')
    t.teardown(() => closeSync(full))
    const { url, stop } = await logging(t, full)
    await askALot(t, url)
    t.equal(await stop(), 0)
  })

  t.test('keeps serving and stops on SIGTERM with a blocked pipe', async (t) => {
    const { url, stop } = await logging(t, 'pipe')
    await askALot(t, url)
    t.equal(await stop(), 0)
  })

  t.test('keeps serving and stops on SIGTERM with a closed pipe', async (t) => {
    const { url, stop, stdout } = await logging(t, 'pipe')
    ;(stdout as unknown as { destroy(): void }).destroy()
    await askALot(t, url)
    t.equal(await stop(), 0)
  })
})

/** Makes a pipe that only the test reads. */
function pipe(t: Test): { fd: number; read(): Buffer } {
  const file = join(t.testdir(), 'pipe')
  execFileSync('mkfifo', [file])
  const fd = openSync(file, constants.O_RDWR | constants.O_NONBLOCK)
  t.teardown(() => closeSync(fd))
  const bytes = Buffer.alloc(1_048_576)
  return {
    fd,
    read() {
      try {
        return Buffer.from(bytes.subarray(0, readSync(fd, bytes)))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return Buffer.alloc(0)
        throw error
      }
    }
  }
}

t.test('buffers unread lines up to a limit, and logs how many were lost', async (t) => {
  const { fd, read } = pipe(t)
  const sink = new Sink(fd, (lost) => `lost ${lost}\n`)
  const line = (i: number): string => `${String(i).padStart(7, '0')} ${'ä'.repeat(500)}\n`
  const count = 20_000
  for (let i = 0; i < count; i++) sink.write(line(i))
  const seen: Buffer[] = []
  const take = (): void => {
    for (let part = read(); part.length > 0; part = read()) seen.push(part)
  }
  const flushed = sink.flush()
  const timer = setInterval(take, 1)
  await flushed
  sink.write('the end\n')
  // A flush gives up after a time, in which a busy machine may not have read all.
  while (!Buffer.concat(seen.slice(-2)).includes('the end\n')) {
    await sink.flush()
    await setTimeout(1)
  }
  clearInterval(timer)
  sink.close()
  const lines = Buffer.concat(seen).toString().trimEnd().split('\n')
  t.equal(lines.pop(), 'the end')
  const lost = Number(lines.find((each) => each.startsWith('lost'))?.slice(5))
  t.ok(lost > 0, `${lost} were lost`)
  const whole = lines.filter((each) => !each.startsWith('lost'))
  t.equal(whole.length + lost, count, 'each line is there, or counted')
  t.strictSame(
    whole,
    whole.map((_, i) => line(i).trimEnd()),
    'in their order, none of them torn'
  )
})

t.test('writes buffered lines at exit', async (t) => {
  const { fd, read } = pipe(t)
  const sink = new Sink(fd, () => '')
  sink.write('last words\n')
  sink.close()
  t.equal(read().toString(), 'last words\n')
})

// Node.js decides about colours by these, and by CI, whose value it compares with services that it knows.
const { NO_COLOR: _, FORCE_COLOR: __, NODE_DISABLE_COLORS: ___, CI: ____, TMUX: _____, ...colorful } = clean
const noScript = spawnSync('script', ['--version']).status === 0 ? false : 'script(1) makes a terminal'

t.test('on a terminal, the log is text by default', { skip: noScript }, async (t) => {
  /** Runs a gateway on a terminal until its log, with all of it, passes a test. */
  const logged = async (env: Record<string, string>, until: RegExp): Promise<string> => {
    const child = spawn('script', ['-qefc', `'${process.execPath}' '${BIN}'`, '/dev/null'], {
      cwd: t.testdir({ 'gateway.json': CONFIG }),
      env: { ...colorful, TERM: 'xterm', PORT: '0', ADMIN_PORT: '', ...env }
    })
    let seen = ''
    for await (const data of child.stdout as AsyncIterable<Buffer>) {
      seen += data.toString()
      if (until.test(seen)) break
    }
    child.kill()
    await once(child, 'exit')
    return seen
  }
  const text = await logged({}, /listening on .*\r\n/)
  t.match(text, /INFO.*listening on http:\/\/127\.0\.0\.1:\d+/)
  t.match(text, '\x1b[', 'in colours')
  t.notMatch(await logged({ NO_COLOR: '1' }, /listening on .*\r\n/), '\x1b[')
  t.match(await logged({ WORKERS: '2' }, /workers started/), '\x1b[', 'lines of workers as well')
  t.match(await logged({ LOG_PRETTY: 'false' }, /listening on .*\r\n/), /^\{"level":"info".*listening on/)
})
