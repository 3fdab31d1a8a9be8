import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { catalog } from '../../../src/gateway/catalog.ts'
import { importFile } from '../../../src/import/index.ts'
import { sallyport } from '../../helpers.ts'

// Many processes, one after the other.
t.setTimeout(180_000)

const SOURCE = 'server {\n  location /a/ {\n    proxy_pass http://127.0.0.1:4001;\n  }\n}\n'

t.test('import prints a config with a summary, and check accepts it', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE })
  const printed = await sallyport(['import', 'nginx', 'nginx.conf'], { cwd })
  t.match(printed, { code: 0, stderr: /^translated \d+ of \d+ constructs\n$/ })
  t.match(printed.stdout, /^\/\/ Translated from nginx\.conf by "sallyport import nginx"/)
  t.match(await sallyport(['import', 'nginx', 'nginx.conf', '-o', 'gateway.json'], { cwd }), {
    code: 0,
    stdout: ''
  })
  t.equal(readFileSync(join(cwd, 'gateway.json'), 'utf8'), printed.stdout)
  t.match(await sallyport(['check'], { cwd }), { code: 0, stdout: /gateway\.json is valid/ })
})

t.test('import never overwrites a file', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE, 'gateway.json': 'mine' })
  t.match(await sallyport(['import', 'nginx', 'nginx.conf', '-o', 'gateway.json'], { cwd }), {
    code: 1,
    stderr: 'There is a gateway.json already; nothing was written\n'
  })
  t.equal(readFileSync(join(cwd, 'gateway.json'), 'utf8'), 'mine')
})

t.test('import says what a command line lacks', async (t) => {
  const cwd = t.testdir({ 'nginx.conf': SOURCE })
  for (const { args, stderr } of [
    { args: ['nginx'], stderr: /^expected a file; usage: sallyport import nginx/ },
    { args: ['apache', 'nginx.conf'], stderr: /^expected one of nginx.*, got "apache"; usage: / },
    {
      args: ['nginx', 'nginx.conf', '-o', 'gateway.ts'],
      stderr: /^--output: expected a name that ends in \.json/
    }
  ])
    t.match(await sallyport(['import', ...args], { cwd }), { code: 2, stderr, stdout: '' }, args.join(' '))
})

t.test('a source that is no config of the format is an error with its place', async (t) => {
  const cwd = t.testdir({
    'open.conf': 'server {\n  listen 80;\n',
    'empty.conf': ' \n',
    'bytes.conf': Buffer.from([0x7f, 0x45, 0, 1]),
    'long.conf': `# ${'x'.repeat(1024 * 1024)}\n`
  })
  for (const { file, message } of [
    { file: 'open.conf', message: /open\.conf:2: expected "}", got the end of the file$/ },
    { file: 'empty.conf', message: /empty\.conf: expected a config, got an empty file$/ },
    { file: 'bytes.conf', message: /bytes\.conf: expected text in UTF-8/ },
    { file: 'long.conf', message: /long\.conf: expected at most 1 MB, got more$/ },
    { file: 'none.conf', message: /^There is no file .*none\.conf$/ }
  ])
    await t.rejects(importFile('nginx', join(cwd, file), catalog), { name: 'ImportError', message }, file)
})
