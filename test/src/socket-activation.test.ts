import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import t, { type Test } from 'tap'
import { readSettings } from '../../src/process/settings.ts'
import { ask, BIN, clean } from '../helpers.ts'

t.setTimeout(600_000)

const CONFIG = '{ "routes": [{ "path": "/", "respond": { "body": "here" } }] }'

// Holds the socket as systemd does, and runs a gateway on it for each line of its standard input, one after the other.
const HOLDER = `trap : TERM; while read -r _; do sh -c 'export LISTEN_PID=$$; exec "$NODE" "$BIN"'; done`

interface Held {
  readonly url: string
  /** Starts the next gateway. */
  start(): void
  /** Tells the one that runs to stop, all its processes at once. */
  stop(): void
  /** Waits for the next line of the log that passes a test. */
  line(test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>
}

/** Opens a listening socket that outlives the gateways on it. */
async function held(t: Test, env: Record<string, string>): Promise<Held> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle
  const holder = spawn('sh', ['-c', HOLDER], {
    cwd: t.testdir({ 'gateway.json': CONFIG }),
    env: { ...clean, NODE: process.execPath, BIN, LISTEN_FDS: '1', ADMIN_PORT: '0', PORT: '1', ...env },
    stdio: ['pipe', 'pipe', 'inherit', fd],
    detached: true
  })
  t.teardown(() => {
    try {
      process.kill(-(holder.pid ?? 0), 'SIGKILL')
    } catch {
      // It has ended.
    }
  })
  // From here on the holder alone has it.
  server.close()
  await once(server, 'close')
  const lines: Record<string, unknown>[] = []
  const news = createInterface({ input: holder.stdout as NodeJS.ReadableStream })
  news.on('line', (text) => lines.push(JSON.parse(text) as Record<string, unknown>))
  return {
    url: `http://127.0.0.1:${port}`,
    start: () => void holder.stdin?.write('go\n'),
    stop: () => void process.kill(-(holder.pid ?? 0), 'SIGTERM'),
    async line(test) {
      for (;;) {
        const at = lines.findIndex(test)
        if (at !== -1) return lines.splice(at, 1)[0] as Record<string, unknown>
        await once(news, 'line')
      }
    }
  }
}

for (const workers of ['1', '2'])
  t.test(
    `takes a socket from systemd, and loses nothing while it is away: ${workers} process(es)`,
    async (t) => {
      const { url, start, stop, line } = await held(t, { WORKERS: workers })
      const early = ask(url)
      start()
      t.equal((await early).text, 'here', 'who came before the gateway is answered')
      for (let i = 0; i < 3; i++) {
        const { admin } = (await line(({ admin }) => admin !== undefined)) as { admin: string }
        t.equal((await ask(url, { headers: { connection: 'close' } })).text, 'here')
        const { workers: all } = JSON.parse((await ask(`${admin}/status`)).text) as {
          workers: { pid: number }[]
        }
        t.equal(all.length, Number(workers))
        stop()
        await line(({ msg, worker }) => msg === 'stopped' && worker === undefined)
        const between = ask(url)
        start()
        t.equal((await between).text, 'here', 'who came in between waited')
      }
    }
  )

t.test('ignores sockets that belong to another process', async (t) => {
  t.strictSame(readSettings({ LISTEN_PID: '1', LISTEN_FDS: '2' }).inherited, {})
  t.strictSame(
    readSettings({ LISTEN_PID: String(process.pid), LISTEN_FDS: '3', LISTEN_FDNAMES: 'web:redirect:admin' })
      .inherited,
    { main: 3, redirect: 4, admin: 5 }
  )
  t.strictSame(readSettings({ LISTEN_PID: String(process.ppid), LISTEN_FDS: '1' }).inherited, {})
  t.strictSame(
    readSettings({ LISTEN_PID: String(process.ppid), LISTEN_FDS: '1', SALLYPORT_WORKER: '2' }).inherited,
    {
      main: 3
    }
  )
})
