/** A command of the command line. */
export interface Command {
  readonly summary: string
  readonly usage: string
  readonly options: Readonly<Record<string, CommandOption>>
  /** What each argument without a dash is; more are wrong usage. */
  readonly positionals: readonly Argument[]
  /** What each further argument is; without it, there are none. */
  readonly variadic?: Argument
  /** Whether it serves requests; other commands end once their output is closed. */
  readonly serves?: true
  /** Returns the exit code; undefined for a process that keeps running. */
  run(args: CommandArguments): Promise<number | undefined>
}

/** An argument or the value of an option: one of some words, or any text, under the name that help shows. Shells complete `FILE` and `DIR` to files and folders. */
export type Argument = string | readonly string[]

/** An option of a command, as `util.parseArgs` takes it, and what help and completion say of it. */
export type CommandOption = {
  readonly about: string
  readonly short?: string
} & (
  | { readonly type: 'boolean' }
  | {
      readonly type: 'string'
      readonly value: Argument
      readonly default?: string
      /** Whether it may be given several times. */
      readonly multiple?: boolean
    }
)

/** The arguments of a command, parsed. */
export interface CommandArguments {
  readonly values: Readonly<Record<string, unknown>>
  readonly positionals: readonly string[]
  readonly version: string
}

/** The option that names the config. */
export const CONFIG_OPTION = {
  type: 'string',
  short: 'c',
  value: 'FILE',
  about: 'the config; by default GATEWAY_CONFIG, else gateway.json'
} as const satisfies CommandOption

/** Returns the name of an argument in help, such as "FILE" or "bash|zsh|fish". */
export const argumentName = (argument: Argument): string =>
  typeof argument === 'string' ? argument : argument.join('|')
