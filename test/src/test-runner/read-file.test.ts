import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError, showFault } from '../../../src/config/fault.ts'
import { readTests } from '../../../src/test-runner/read-file.ts'

/** Returns the errors of a file of tests, without its folder. */
async function errorsOf(t: Test, name: string, text: string): Promise<string[]> {
  const file = join(t.testdir({ [name]: text }), name)
  const error = await readTests(file).then(
    () => undefined,
    (reason: unknown) => reason
  )
  if (!(error instanceof ConfigError)) return []
  return error.faults.map((fault) => showFault({ ...fault, file: name }))
}

t.test('files are read as JSON with comments, as YAML and as modules', async (t) => {
  const cases: [name: string, text: string][] = [
    [
      'gateway.test.json',
      '{ "tests": [{ "request": "GET /a", "expect": { "status": 200 } }], } // a comment'
    ],
    ['gateway.test.yaml', 'tests:\n  - request: GET /a\n    expect: { status: 200 }\n'],
    ['gateway.test.ts', 'export default { tests: [{ request: "GET /a", expect: { status: 200 } }] }']
  ]
  for (const [name, text] of cases) {
    const { content } = await readTests(join(t.testdir({ [name]: text }), name))
    t.strictSame(content.tests, [{ request: 'GET /a', expect: { status: 200 } }], name)
  }
})

t.test('errors have their place, and say what would work', async (t) => {
  const cases: [text: string, ...errors: string[]][] = [
    [
      '{ "test": [] }',
      '"tests" is missing',
      'gateway.test.json:1:3 test: Unknown option "test"; did you mean "tests"?'
    ],
    ['{ "tests": [{}] }', 'tests[0]: expected one of "request" and "steps", got neither'],
    [
      '{ "tests": [{ "request": "GET /", "expect": { "statsu": 1 } }] }',
      'gateway.test.json:1:47 tests[0].expect.statsu: Unknown option "statsu"; did you mean "status"?'
    ],
    [
      '{ "tests": [{ "request": "/a" }] }',
      'tests[0].request: expected a method and a URL such as "GET /orders/1" or an object such as { "url": "/a" }, got "/a"'
    ],
    [
      '{ "tests": [{ "request": "GET /", "as": "ada" }] }',
      'tests[0].as: There is no caller in "callers" called "ada"; there are none'
    ],
    [
      '{ "callers": { "ada": {} }, "tests": [{ "request": "GET /", "as": { "apiKey": "adda" } }] }',
      'tests[0].as.apiKey: There is no strategy of "auth" called "apiKey"; did you mean "apiKeys"?',
      'There is no caller in "callers" called "adda"'
    ],
    [
      '{ "tests": [{ "steps": [{ "wait": "1m", "request": "GET /" }] }] }',
      'tests[0].steps[0]: expected one of "request", "wait", "purge" and "reload", got "request" and "wait"'
    ],
    [
      '{ "tests": [{ "request": "GET /", "expect": { "body": { "match": "(" } } }] }',
      'tests[0].expect.body.match: expected a regular expression, got "("'
    ],
    [
      '{ "tests": [{ "request": { "url": "/", "from": "here" } }] }',
      'tests[0].request.from: expected an IP address, got "here"'
    ],
    ['{ "tests": [{ "request": "GET /a\\r\\nx: y" }] }', 'tests[0].request: expected no line break, got one'],
    [
      '{ "clock": "yesterday", "tests": [] }',
      'clock: expected a date such as "2026-01-01T00:00:00Z", got "yesterday"'
    ],
    [
      '{ "tests": [{ "steps": [{ "wait": "36501d" }] }] }',
      'gateway.test.json:1:27 tests[0].steps[0].wait: expected 36500d at most, got 36501d'
    ],
    ['{ "upstreams": { "a": [{ "answers": [{ "status": "hnag" }] }] }, "tests": [] }', 'did you mean "hang"?']
  ]
  for (const [text, ...expected] of cases) {
    const errors = await errorsOf(t, 'gateway.test.json', text)
    t.equal(errors.length, expected.length, errors.join('\n'))
    for (const [i, part] of expected.entries()) t.match(errors[i], part)
  }
})

t.test('keys with x- and data of the user are left alone', async (t) => {
  const text = JSON.stringify({
    'x-note': 'ours',
    upstreams: { orders: [{ answers: [{ status: 200, body: { match: '(', from: 'here', url: '/' } }] }] },
    tests: [{ 'x-why': 1, request: { url: '/', body: { match: '(' } } }]
  })
  t.strictSame(await errorsOf(t, 'gateway.test.json', text), [])
})
