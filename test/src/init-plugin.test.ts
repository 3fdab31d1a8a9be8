import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ask, running, sallyport } from '../helpers.ts'
import { npmTest, SOURCE, withSallyport } from '../plugin-packages.ts'

// The tests of what is written start gateways and worker processes.
t.setTimeout(600_000)

t.test('init --plugin', async (t) => {
  t.test('writes a concern with tests that pass, and a gateway that loads it', async (t) => {
    const cwd = withSallyport(t)
    const made = await sallyport(['init', '--plugin', 'geo-block'], { cwd })
    t.match(made, {
      code: 0,
      stderr: '',
      stdout: /\nNow: cd sallyport-geo-block && npm install && npm test\n$/
    })
    const folder = join(cwd, 'sallyport-geo-block')
    t.strictSame(readdirSync(folder, { recursive: true, encoding: 'utf8' }).toSorted(), [
      '.gitignore',
      'README.md',
      'gateway.json',
      'package.json',
      'src',
      'src/geo-block.d.ts',
      'src/geo-block.js',
      'test',
      'test/geo-block.test.js'
    ])
    const { version } = JSON.parse(readFileSync(join(SOURCE, '../package.json'), 'utf8')) as {
      version: string
    }
    t.match(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')), {
      name: 'sallyport-geo-block',
      type: 'module',
      peerDependencies: { sallyport: `^${version}` },
      files: ['src']
    })
    for (const file of ['src/geo-block.js', 'src/geo-block.d.ts', 'README.md', 'test/geo-block.test.js'])
      t.notMatch(readFileSync(join(folder, file), 'utf8'), /plugin.?name/i, `${file} has no placeholder`)
    t.match(await npmTest(folder), { code: 0, stdout: /ok \d+ - it works in two worker processes/ })
    t.match(await sallyport(['check', '--strict'], { cwd: folder }), { code: 0, stderr: '' })
    const { url } = await running(t, [], { cwd: folder })
    t.equal((await ask(url)).status, 200)
    const refused = await ask(url, { headers: { 'x-geo-block': 'no' } })
    t.equal(refused.status, 403)
    t.match(JSON.parse(refused.text), { code: 'SP_ERR_GEO_BLOCK_REFUSED' })
    t.equal((await ask(`${url}/status`, { headers: { 'x-geo-block': 'no' } })).status, 200)
  })

  t.test('writes a target with tests that pass', async (t) => {
    const cwd = withSallyport(t)
    const { code, stdout } = await sallyport(
      ['init', 'tea', '--plugin', 'sallyport-teapot', '--target', '--json'],
      {
        cwd
      }
    )
    t.equal(code, 0)
    const { files } = JSON.parse(stdout) as { files: string[] }
    t.ok(files.includes('tea/src/teapot.js'))
    t.match(await npmTest(join(cwd, 'tea')), { code: 0 })
    const { url } = await running(t, [], { cwd: join(cwd, 'tea') })
    t.strictSame(JSON.parse((await ask(url)).text), { message: 'Hello' })
  })

  const wrong: [args: string[], code: number, message: RegExp][] = [
    [['--plugin', 'Geo_Block'], 2, /^--plugin: expected a name in small letters .*, got "Geo_Block"/],
    [['--plugin', '../geo'], 2, /^--plugin: expected a name in small letters/],
    [['--plugin', 'rate-limit'], 2, /"rateLimit" is a key of Sallyport itself/],
    [['--plugin', 'extensions'], 2, /"extensions" is a key of Sallyport itself/],
    [['--plugin', 'delete'], 2, /"delete-gate" would work/],
    [['--plugin', 'geo', '--template', 'spa'], 2, /^--plugin: expected no --template beside it/],
    [['--target'], 2, /^--target: expected --plugin NAME beside it/],
    [['full', '--plugin', 'geo'], 1, /^There are files in full already; nothing was written/],
    [['file', '--plugin', 'geo'], 1, /^file can't be used as a folder \(ENOTDIR\)/]
  ]
  for (const [args, code, stderr] of wrong)
    t.test(`writes nothing for ${args.join(' ').slice(0, 40)}`, async (t) => {
      const cwd = t.testdir({ file: '', full: { 'a.txt': 'mine' } })
      t.match(await sallyport(['init', ...args], { cwd }), { code, stdout: '', stderr })
      t.strictSame(
        readdirSync(cwd).filter((name) => name !== '.tap'),
        ['file', 'full']
      )
    })
})
