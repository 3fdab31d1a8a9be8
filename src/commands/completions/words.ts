import type { Command } from '../command.ts'

/** Returns the options of a command as they are typed, such as "-c" and "--config". */
export const optionNames = ({ options }: Command): string[] =>
  Object.entries(options).flatMap(([name, { short }]) =>
    short === undefined ? [`--${name}`] : [`-${short}`, `--${name}`]
  )

/** Quotes text for a shell. */
export const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`
