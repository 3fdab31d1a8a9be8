// biome-ignore-all lint/suspicious/noTemplateCurlyInString: ${…} is the syntax of the config
import { spawn } from 'node:child_process'
import { EventEmitter, on, once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { CommandError } from '../../src/commands/outcome.ts'
import { type Run, rerunOnChanges } from '../../src/commands/rerun.ts'
import { runTestFiles } from '../../src/commands/run-test-files.ts'
import { FileWatch } from '../../src/process/watch.ts'
import { BIN, clean } from '../helpers.ts'

/** What one run has printed, and its exit code. */
interface Ran {
  readonly code: number
  readonly text: string
}

interface Watching {
  /** Waits for the end of the next run. */
  next(): Promise<Ran>
  /** How many runs there were. */
  count(): number
  /** Ends the watch; resolves to its exit code. */
  stop(): Promise<number>
}

/** Watches the tests of a folder, and runs them in this process. */
async function watching(t: Test, folder: string): Promise<Watching> {
  const events = new EventEmitter()
  const runs = on(events, 'ran')
  let count = 0
  const stopped = once(events, 'stop')
  let last: Ran | undefined
  const code = rerunOnChanges({
    start: (onFiles): Run => ({
      ended: ranOnce(folder, onFiles).then((ran) => {
        count++
        last = ran
        return ran.code
      }),
      stop() {}
    }),
    stopped,
    onWaiting: () => void events.emit('ran', last)
  })
  const stop = (): Promise<number> => {
    events.emit('stop')
    return code
  }
  t.teardown(stop)
  return {
    next: async () => ((await runs.next()).value as [Ran])[0],
    count: () => count,
    stop
  }
}

async function ranOnce(folder: string, onFiles: (files: readonly string[]) => void): Promise<Ran> {
  let text = ''
  const output = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      done()
    }
  })
  const files = [join(folder, 'gateway.test.json')]
  const run = { files, config: undefined, reporter: 'tap', minCoverage: 0, output, onFiles } as const
  try {
    return { code: await runTestFiles(run), text }
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    return { code: error.exitCode, text: error.message }
  }
}

const CONFIG = {
  session: true,
  auth: { global: false, session: true, users: { file: 'users.json' } },
  routes: [
    { include: 'part.json' },
    { path: '/in', auth: true, respond: {} },
    { path: '/b', respond: { body: '${TEXT}' } },
    { path: '/orders', auth: false, validate: { openapi: 'api.json' }, respond: {} },
    { path: '/page', auth: false, respond: { body: '${file:page.txt}' } }
  ]
}
const API = JSON.stringify({
  openapi: '3.1.0',
  info: { title: 'orders', version: '1' },
  paths: { '/orders': { get: { responses: {} } } }
})
const PART = { routes: [{ path: '/a', respond: { body: 'a' } }] }
const TESTS = {
  tests: [
    { request: 'GET /a', expect: { status: 200 } },
    { request: 'GET /b', expect: { body: 'one' } },
    { request: 'GET /page', expect: { body: 'hi' } },
    { steps: [{ request: 'GET /a' }, { reload: 'next.json' }, { request: 'GET /a' }] }
  ]
}

t.test('tests run again whenever a file that they need has changed, broken ones included', async (t) => {
  const folder = t.testdir({
    '.env': 'TEXT=one',
    'gateway.json': JSON.stringify(CONFIG),
    'next.json': JSON.stringify(PART),
    'part.json': JSON.stringify(PART),
    'users.json': '[]',
    'api.json': API,
    'page.txt': 'hi',
    'gateway.test.json': JSON.stringify(TESTS)
  })
  const write = (name: string, value: unknown): void =>
    writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
  const { next, count, stop } = await watching(t, folder)
  t.match(await next(), { code: 0 })
  // Each is mended together with the next change.
  const cases: [changes: Record<string, unknown>, code: number, text: RegExp][] = [
    [
      { 'gateway.test.json': { tests: [{ request: 'GET /a', expect: { status: 404 } }] } },
      3,
      /expected status 404, got 200/
    ],
    [{ 'gateway.test.json': '{ "tests": [' }, 1, /gateway\.test\.json:1:\d+/],
    [{ 'gateway.test.json': TESTS, '.env': 'TEXT=two' }, 3, /expected "one", got "two"/],
    [{ '.env': 'TEXT=one', 'part.json': '{ "routs": [] }' }, 1, /part\.json:1:3 routs: Unknown option/],
    [
      { 'part.json': { routes: [{ path: '/a', respond: { status: 204 } }] } },
      3,
      /expected status 200, got 204/
    ],
    [{ 'part.json': PART, 'users.json': '[{}]' }, 1, /users\.json: entry 1: expected a name/],
    [{ 'users.json': '[]', 'api.json': '{}' }, 1, /validate\.openapi/],
    [{ 'api.json': API, 'page.txt': 'ho' }, 3, /expected "hi", got "ho"/],
    [
      { 'page.txt': 'hi', 'gateway.json': { ...CONFIG, publicUrl: 'none' } },
      1,
      /gateway\.json:1:\d+ publicUrl/
    ],
    [{ 'gateway.json': CONFIG, 'next.json': '{ "routs": [] }' }, 1, /next\.json:1:3 routs: Unknown option/]
  ]
  for (const [changes, code, text] of cases) {
    for (const [name, content] of Object.entries(changes)) write(name, content)
    const ran = await next()
    t.equal(ran.code, code, Object.keys(changes).join(', '))
    t.match(ran.text, text)
  }
  rmSync(join(folder, 'next.json'))
  t.match(
    (await next()).text,
    /gateway\.test\.json:1:\d+ tests\[3\]\.steps\[1\]\.reload: There is no file .*next\.json/
  )
  write('next.json', PART)
  t.equal((await next()).code, 0)
  t.equal(count(), cases.length + 3, 'one run for each change')
  t.equal(await stop(), 0, 'the exit code of the last run')
})

t.test('a change during a run starts one more, and a run that is stopped does not count', async (t) => {
  const folder = t.testdir({ file: 'one' })
  const events = new EventEmitter()
  const started = on(events, 'started')
  const ends: ((code: number | undefined) => void)[] = []
  const code = rerunOnChanges({
    start(onFiles) {
      onFiles([join(folder, 'file')])
      const { promise, resolve } = Promise.withResolvers<number | undefined>()
      ends.push(resolve)
      events.emit('started')
      return { ended: promise, stop: () => resolve(undefined) }
    },
    stopped: once(events, 'stop'),
    onWaiting: () => t.fail('there was a change')
  })
  await started.next()
  const change = once(watchOf(t, join(folder, 'file')), 'change')
  writeFileSync(join(folder, 'file'), 'two')
  await change
  t.equal(ends.length, 1, 'not beside the first')
  ends[0]?.(3)
  await started.next()
  t.equal(ends.length, 2)
  events.emit('stop')
  t.equal(await code, 3)
})

/** Watches a file as the command does, which sees a change at the same time. */
function watchOf(t: Test, file: string): EventEmitter {
  const events = new EventEmitter()
  const watch = new FileWatch(() => void events.emit('change'), pino({ level: 'silent' }))
  watch.watch([file])
  t.teardown(() => watch.close())
  return events
}

t.test('the command watches once, however its options are written', async (t) => {
  const cwd = t.testdir({
    'gateway.json': '{ "routes": [{ "path": "/a", "respond": { "body": "a" } }] }',
    'gateway.test.json': '{ "tests": [{ "request": "GET /a", "expect": { "status": 200 } }] }'
  })
  const child = spawn(process.execPath, [BIN, 'test', '-wc', 'gateway.json'], { cwd, env: clean })
  t.teardown(() => child.kill('SIGKILL'))
  let shown = ''
  child.stdout.on('data', (data: Buffer) => {
    shown += data.toString()
  })
  for await (const data of child.stderr) if (String(data).includes('Waiting for changes')) break
  t.match(shown, /tests 1/)
  child.kill('SIGINT')
  t.strictSame(await once(child, 'exit'), [0, null])
})
