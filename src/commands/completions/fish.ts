import type { Argument, Command, CommandOption } from '../command.ts'

/** Returns the completion script of fish. */
export function fishCompletion(commands: ReadonlyMap<string, Command>): string {
  const lines = [
    '# Completes sallyport in fish: sallyport completion fish | source',
    'complete -c sallyport -f',
    `complete -c sallyport -n __fish_use_subcommand -s v -l version -d 'Prints the version'`,
    `complete -c sallyport -s h -l help -d 'Prints the usage'`
  ]
  for (const [name, { summary, options, positionals, variadic }] of commands) {
    lines.push(`complete -c sallyport -n __fish_use_subcommand -a ${name} -d ${quote(summary)}`)
    const seen = `'__fish_seen_subcommand_from ${name}'`
    for (const [long, option] of Object.entries(options)) {
      lines.push(optionLine(seen, long, option))
      // Without a command, sallyport runs.
      if (name === 'run') lines.push(optionLine('__fish_use_subcommand', long, option))
    }
    for (const argument of variadic === undefined ? positionals : [...positionals, variadic]) {
      const words = argumentFlags(argument)
      if (words !== '') lines.push(`complete -c sallyport -n ${seen} ${words}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function optionLine(condition: string, long: string, option: CommandOption): string {
  const short = option.short === undefined ? '' : ` -s ${option.short}`
  const value = option.type === 'boolean' ? '' : ` -r ${argumentFlags(option.value)}`
  return `complete -c sallyport -n ${condition}${short} -l ${long}${value.trimEnd()} -d ${quote(option.about)}`
}

function argumentFlags(argument: Argument): string {
  if (typeof argument !== 'string') return `-a ${quote(argument.join(' '))}`
  return argument === 'FILE' ? '-F' : argument === 'DIR' ? `-a '(__fish_complete_directories)'` : ''
}

/** Quotes text for fish, in which a backslash escapes also between quotes. */
const quote = (text: string): string => `'${text.replaceAll(/['\\]/g, '\\$&')}'`
