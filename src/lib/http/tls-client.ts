import { readFileSync } from 'node:fs'
import { type Static, Type } from 'typebox'
import { File } from '../units.ts'

/** The options of TLS towards a server: whom it is believed, and who we are. */
export const tlsClientOptions = {
  ca: Type.Optional(
    File({ description: 'A file with the certificates of the authorities that are trusted, in PEM.' })
  ),
  cert: Type.Optional(File({ description: 'A file with the certificate that the gateway shows, in PEM.' })),
  key: Type.Optional(File({ description: 'A file with the key of that certificate, in PEM.' })),
  serverName: Type.Optional(
    Type.String({ description: "The name that is asked for (SNI) and checked; by default the URL's." })
  ),
  verify: Type.Boolean({
    default: true,
    description: "Whether the other side's certificate is verified; false is for tests alone."
  })
}

const whole = Type.Object(tlsClientOptions)

/** Reads what Node.js wants of TLS towards a server. */
export function connectionOptions(said: Static<typeof whole>): object {
  const pem = (file: string | undefined): string | undefined =>
    file === undefined ? undefined : readFileSync(file, 'utf8')
  return {
    ca: pem(said.ca),
    cert: pem(said.cert),
    key: pem(said.key),
    rejectUnauthorized: said.verify,
    ...(said.serverName === undefined ? {} : { servername: said.serverName })
  }
}
