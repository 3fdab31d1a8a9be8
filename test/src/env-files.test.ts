import t from 'tap'
import { ask, running, sallyport } from '../helpers.ts'

t.test('reads .env beside the config and in the working directory', async (t) => {
  const config = (name: string): string =>
    JSON.stringify({ routes: [{ path: '/who', respond: { body: `\${WHO} \${PLACE:-nowhere} ${name}` } }] })
  const cwd = t.testdir({
    '.env': 'WHO=here\nPLACE=here\nGATEWAY_CONFIG=edge/gateway.json\n',
    edge: {
      'gateway.json': config('edge'),
      'other.json': config('other'),
      '.env': 'WHO=beside\nGATEWAY_CONFIG=other.json\n'
    },
    broken: { 'gateway.json': config('broken'), '.env': {} }
  })
  const cases: [name: string, args: string[], env: Record<string, string>, body: string][] = [
    ['the one beside the config wins', ['-c', 'edge/other.json'], {}, 'beside here other'],
    ['the one here names the config', [], {}, 'beside here edge'],
    ['the environment wins over both', [], { WHO: 'real' }, 'real here edge'],
    ['workers read the same files', [], { WORKERS: '2' }, 'beside here edge']
  ]
  for (const [name, args, env, body] of cases) {
    const { url } = await running(t, args, { cwd, env })
    t.equal((await ask(`${url}/who`)).text, body, name)
  }
  t.match(await sallyport(['check', '-c', 'broken/gateway.json'], { cwd }), {
    code: 1,
    stderr: "broken/.env can't be read (EISDIR)\n"
  })
})
