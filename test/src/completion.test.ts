import { execFileSync } from 'node:child_process'
import t from 'tap'
import { commands } from '../../src/commands/index.ts'
import { sallyport } from '../helpers.ts'

/** Returns the completion script of a shell. */
async function scriptOf(shell: string): Promise<string> {
  const { code, stdout, stderr } = await sallyport(['completion', shell])
  if (code !== 0) throw new Error(stderr)
  return stdout
}

t.test('bash completes commands, options and their values', async (t) => {
  const script = await scriptOf('bash')
  const cases: [typed: string[], offers: string[]][] = [
    [['sallyport', 'ch'], ['check']],
    [['sallyport', '--w'], ['--watch']],
    [['sallyport', '--ver'], ['--version']],
    [['sallyport', 'check', '--str'], ['--strict']],
    [['sallyport', '-w', '--c'], ['--config']],
    [['sallyport', 'user', ''], ['add']],
    [['sallyport', 'user', '--file', 'x.json', ''], ['add']],
    [['sallyport', 'user', '--file', '=', 'x.json', 'a'], ['add']],
    [['sallyport', 'user', 'add', 'ada', '--ro'], ['--roles']],
    [['sallyport', 'user', 'add', ''], []],
    [
      ['sallyport', 'completion', ''],
      ['bash', 'zsh', 'fish']
    ],
    [['sallyport', 'check', '-c', 'gate'], []],
    [['sallyport', 'fmt', 'a.json', '--ch'], ['--check']],
    [['sallyport', 'fmt', 'a.json', ''], []],
    [
      ['sallyport', 'test', 'a.test.json', '--reporter', ''],
      ['spec', 'tap', 'junit']
    ],
    [['sallyport', 'test', '--min'], ['--min-coverage']],
    [['sallyport', 'test', '--min-coverage', ''], []],
    [['sallyport', 'test', 'gate'], []],
    [['sallyport', 'none', ''], []]
  ]
  // Like the shell does when Tab is pressed.
  const ask = cases
    .map(
      ([typed]) =>
        `COMP_WORDS=(${typed.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${typed.length - 1}; _sallyport; echo "\${COMPREPLY[*]}"`
    )
    .join('\n')
  const output = execFileSync('bash', ['-c', `${script}\n${ask}\ncomplete -p sallyport`], {
    encoding: 'utf8'
  })
  const lines = output.split('\n')
  for (const [i, [typed, offers]] of cases.entries()) t.equal(lines[i], offers.join(' '), typed.join(' '))
  t.equal(lines[cases.length], 'complete -o default -F _sallyport sallyport')
})

t.test('the scripts of all shells have every command and option', async (t) => {
  const long: Record<string, (name: string) => string> = {
    bash: (name) => `--${name}`,
    zsh: (name) => `--${name}`,
    fish: (name) => `-l ${name}`
  }
  for (const [shell, optionOf] of Object.entries(long)) {
    const script = await scriptOf(shell)
    for (const [name, load] of Object.entries(commands)) {
      t.match(script, new RegExp(`\\b${name}\\b`), `${shell}: ${name}`)
      for (const option of Object.keys((await load()).command.options))
        t.match(script, optionOf(option), `${shell}: ${name} --${option}`)
    }
  }
})

t.test('completion names the shells that it knows', async (t) => {
  t.match(await sallyport(['completion', 'pwsh']), {
    code: 2,
    stdout: '',
    stderr: /^expected one of bash, zsh, fish, got "pwsh"; usage: sallyport completion bash\|zsh\|fish\n$/
  })
})

t.test('the usage of each command names all of its options and arguments', async (t) => {
  for (const [name, load] of Object.entries(commands)) {
    const { usage, options, positionals, variadic } = (await load()).command
    for (const [long, { short }] of Object.entries(options))
      t.match(
        usage,
        new RegExp(`--${long}\\b${short === undefined ? '' : `|-${short}\\b`}`),
        `${name} --${long}`
      )
    for (const argument of variadic === undefined ? positionals : [...positionals, variadic])
      t.match(usage, typeof argument === 'string' ? argument : argument.join('|'))
  }
})
