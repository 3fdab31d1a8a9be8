import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { BIN, clean, gateway, sallyport } from '../helpers.ts'

t.test('user add and key add write callers that the gateway accepts', async (t) => {
  const cwd = t.testdir({})
  const user = await sallyport(
    ['user', 'add', 'ada', '--roles', 'staff, admin', '--email', 'ada@example.com'],
    { cwd, input: 'a long password\n' }
  )
  t.match([user.code, user.stdout], [0, 'Added ada to users.json.\n'])
  const second = await sallyport(['user', 'add', 'bob'], { cwd, input: 'another password' })
  t.equal(second.code, 0)
  const key = await sallyport(['key', 'add', 'robot', '--scopes', 'read', '--expires', '2999-01-01'], { cwd })
  t.equal(key.code, 0)
  t.match(key.stdout, /^[\w-]{43}\n$/, 'the key alone is on stdout')
  for (const file of ['users.json', 'keys.json']) {
    t.equal(statSync(join(cwd, file)).mode & 0o777, 0o600, `${file} is the owner's alone`)
    t.notMatch(readFileSync(join(cwd, file), 'utf8'), new RegExp(`password\n|${key.stdout.trim()}`))
  }
  t.match(JSON.parse(readFileSync(join(cwd, 'users.json'), 'utf8')), [
    { name: 'ada', roles: ['staff', 'admin'], email: 'ada@example.com' },
    { name: 'bob' }
  ])
  const app = await gateway(t, {
    auth: {
      users: { file: join(cwd, 'users.json') },
      basic: true,
      apiKeys: { file: join(cwd, 'keys.json') },
      by: ['basic', 'apiKeys']
    },
    routes: [{ path: '/', auth: true, respond: { body: '{caller.id}' } }]
  })
  const basic = Buffer.from('ada:a long password').toString('base64')
  for (const [headers, status, body] of [
    [{ authorization: `Basic ${basic}` }, 200, 'ada'],
    [{ 'x-api-key': key.stdout.trim() }, 200, 'robot'],
    [{ 'x-api-key': 'wrong' }, 401, undefined]
  ] as const) {
    const response = await app.inject({ url: '/', headers })
    t.equal(response.statusCode, status)
    if (body !== undefined) t.equal(response.body, body)
  }
})

t.test('user add and key add change nothing if something is wrong', async (t) => {
  const cwd = t.testdir({
    'users.json': '[{"name":"ada","password":"x"}]',
    'odd.json': '{}',
    'broken.json': '['
  })
  const cases: [args: string[], input: string, code: number, message: RegExp][] = [
    [['user', 'add', 'ada'], 'pass', 1, /There is a user "ada" in users\.json already/],
    [['user', 'add', 'bob'], '', 1, /expected a line on stdin/],
    [['user', 'add', 'bob'], 'a\nb\n', 1, /expected one line on stdin/],
    [
      ['user', 'add', 'bob', '-f', 'odd.json'],
      'pass',
      1,
      /expected a JSON list in odd\.json; nothing was written/
    ],
    [['user', 'add', 'bob', '-f', 'broken.json'], 'pass', 1, /expected a JSON list in broken\.json/],
    [
      ['user', 'add', 'bob', '-f', 'none/users.json'],
      'pass',
      1,
      /There is no folder none; nothing was written/
    ],
    [['user', 'add'], '', 2, /usage: sallyport user add NAME/],
    [['user', 'remove', 'ada'], '', 2, /usage: sallyport user add NAME/],
    [['key', 'add'], '', 2, /usage: sallyport key add ID/],
    [['key', 'add', 'x', '--expires', 'tomorrow'], '', 2, /expected a day such as 2027-01-01, got "tomorrow"/]
  ]
  for (const [args, input, code, message] of cases) {
    const ended = await sallyport(args, { cwd, input })
    t.equal(ended.code, code, args.join(' '))
    t.match(ended.stderr, message, args.join(' '))
    t.equal(ended.stdout, '', `${args.join(' ')}: nothing on stdout`)
  }
  t.equal(readFileSync(join(cwd, 'users.json'), 'utf8'), '[{"name":"ada","password":"x"}]')
})

t.test('echo responds with the request it got', async (t) => {
  const child = spawn(process.execPath, [BIN, 'echo', '--port', '0'], { env: clean })
  t.teardown(() => child.kill())
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line.toString())?.[0]
  const response = await fetch(`${url}/a?b=1`, {
    method: 'POST',
    body: 'x'.repeat(100_000),
    headers: { 'x-a': '1' }
  })
  t.match(await response.json(), {
    method: 'POST',
    url: '/a?b=1',
    headers: { 'x-a': '1' },
    body: 'x'.repeat(65_536),
    bytes: 100_000
  })
  const busy = await sallyport(['echo', '--port', new URL(url ?? '').port])
  t.match([busy.code, busy.stderr], [1, /can't be opened \(EADDRINUSE\); --port names another one/])
  const wrong = await sallyport(['echo', '--port', 'x'])
  t.match([wrong.code, wrong.stderr], [2, /expected a port from 0 to 65535, got "x"/])
  child.kill()
  const [code] = (await once(child, 'close')) as [number]
  t.equal(code, 0)
})
