import type { Command } from './command.ts'
import { bashCompletion } from './completions/bash.ts'
import { fishCompletion } from './completions/fish.ts'
import { zshCompletion } from './completions/zsh.ts'
import { commands } from './index.ts'
import { UsageError } from './outcome.ts'

const SHELLS: ReadonlyMap<string, (commands: ReadonlyMap<string, Command>) => string> = new Map([
  ['bash', bashCompletion],
  ['zsh', zshCompletion],
  ['fish', fishCompletion]
])

export const command: Command = {
  summary: 'prints a script that completes commands and options in a shell',
  usage: 'sallyport completion bash|zsh|fish',
  options: {},
  positionals: [[...SHELLS.keys()]],
  async run({ positionals: [shell = ''] }) {
    const script = SHELLS.get(shell)
    if (script === undefined)
      throw new UsageError(
        `expected one of ${[...SHELLS.keys()].join(', ')}, got "${shell}"; usage: ${command.usage}`
      )
    const all = new Map<string, Command>()
    for (const [name, load] of Object.entries(commands)) all.set(name, (await load()).command)
    process.stdout.write(script(all))
    return 0
  }
}
