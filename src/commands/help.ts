import { argumentName, type Command, type CommandOption } from './command.ts'
import { commands } from './index.ts'

/** Returns the help of a command: its usage, what it does, and its options. */
export function commandHelp({ usage, summary, options }: Command): string {
  const rows = Object.entries(options).map(([name, option]) => [optionName(name, option), option.about])
  const width = Math.max(0, ...rows.map(([name = '']) => name.length))
  const lines = rows.map(([name = '', about = '']) => `  ${name.padEnd(width)}  ${about}\n`)
  return `usage: ${usage}\n\n${summary}\n${lines.length > 0 ? `\n${lines.join('')}` : ''}`
}

function optionName(name: string, option: CommandOption): string {
  const short = option.short === undefined ? '    ' : `-${option.short}, `
  return `${short}--${name}${option.type === 'string' ? ` ${argumentName(option.value)}` : ''}`
}

/** Returns the help of all commands: the usage of each, and what it does. */
export async function allHelp(): Promise<string> {
  const lines = ['Sallyport, an API gateway.', '', 'usage:']
  for (const load of Object.values(commands)) {
    const { command } = await load()
    lines.push(`  ${command.usage.padEnd(44)} ${command.summary}`)
  }
  return `${lines.join('\n')}\n`
}
