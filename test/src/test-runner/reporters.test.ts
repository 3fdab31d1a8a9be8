import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { SaxesParser } from 'saxes'
import t from 'tap'
import { Parser } from 'tap-parser'
import { eventsOf } from '../../../src/test-runner/events.ts'
import { type ReporterName, report } from '../../../src/test-runner/reporters.ts'
import type { TestResult } from '../../../src/test-runner/run-file.ts'

// All that means something to one of the formats.
const NAME =
  'a < b & c ]]> "q" \'s\' # TODO # SKIP \\ --> é\nnew\tline \u0000\u001b[31m \ud800 \ufffe\r\nnot ok 9 - no test'
const SHOWN =
  'a < b & c ]]> "q" \'s\' # TODO # SKIP \\ --> é new\\u0009line \\u0000\\u001b[31m \ufffd \\ufffe\\u000d not ok 9 - no test'
const FILE = 'a<&">.test.json'
const place = { file: FILE, line: 3, column: 5 }
const RESULTS: TestResult[] = [
  { name: NAME, place, ms: 1.5, failures: [] },
  {
    name: 'fails',
    place,
    ms: 2,
    failures: [
      { message: NAME, place },
      { message: 'second\n  ...\nok 1', place }
    ]
  }
]

async function printed(reporter: ReporterName): Promise<string> {
  let text = ''
  const output = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk)
      done()
    }
  })
  const summary = (): string[] => ['tests 2', 'not covered: a --> b ]]> <!--']
  await report(eventsOf([{ file: FILE, results: RESULTS }], summary), reporter, output)
  return text
}

t.test('TAP is read by a parser, whatever names and messages contain', async (t) => {
  const text = await printed('tap')
  const parser = new Parser({ strict: true })
  const names: string[] = []
  const diagnostics: unknown[] = []
  parser.on('child', (child: Parser) => {
    child.on('assert', ({ ok, name, diag, todo, skip }) => {
      names.push(`${ok} ${name}`)
      if (diag !== null) diagnostics.push((diag as { error?: unknown }).error)
      t.strictSame([todo, skip], [false, false])
    })
  })
  const ended = new Promise<{ ok: boolean; count: number; failures: unknown[] }>((resolve) =>
    parser.on('complete', resolve)
  )
  parser.end(text)
  t.match(await ended, { ok: false, count: 1, fail: 1, bailout: false, plan: { start: 1, end: 1 } })
  t.strictSame(names, [`true ${SHOWN}`, 'false fails'])
  t.strictSame(diagnostics.at(-1), `${FILE}:3:5 ${SHOWN}\n${FILE}:3:5 second   ... ok 1`)
  t.notMatch(text, /^\s+at /m, 'no stack')
})

t.test('JUnit is XML, whatever names and messages contain', async (t) => {
  const text = await printed('junit')
  const parser = new SaxesParser({ fragment: false })
  const cases: Record<string, string>[] = []
  let failure = ''
  parser.on('error', (error) => t.fail(error.message))
  parser.on('opentag', ({ name, attributes }) => {
    if (name === 'testcase' || name === 'failure') cases.push(attributes as Record<string, string>)
  })
  parser.on('text', (part) => {
    failure += part
  })
  parser.write(text).close()
  // Its reporter escapes double quotes twice, so that there are none.
  const name = SHOWN.replaceAll('"', "'")
  const file = FILE.replaceAll('"', "'")
  t.match(cases, [
    { name, file, classname: 'test' },
    { name: 'fails', file },
    { type: 'testCodeFailure', message: `${file}:3:5 ${name}` }
  ])
  t.equal(failure.trim(), `${FILE}:3:5 ${SHOWN.replace(']]>', ']] >')}\n${FILE}:3:5 second   ... ok 1`)
  t.notMatch(text, /^\s+at /m, 'no stack')
})

t.test('a person reads what failed, with its place and without control characters', async (t) => {
  // The reporter itself may use colors.
  const text = stripVTControlCharacters(await printed('spec'))
  t.match(text, `✔ ${SHOWN} (1.5ms)`)
  t.match(text, `${FILE}:3:5 ${SHOWN}\n`)
  t.notMatch(text, /(?!\n)\p{Cc}/u)
  t.notMatch(text, /^\s+at .*\.ts/m, 'no stack')
})
