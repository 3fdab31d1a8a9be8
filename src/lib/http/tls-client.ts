import { readFileSync } from 'node:fs'
import { type Static, Type } from 'typebox'
import { File } from '../units.ts'

/** The options of a TLS connection to a server: trusted authorities and the client certificate. */
export const tlsClientOptions = {
  ca: Type.Optional(
    File({ description: 'A file with the certificates of the trusted authorities, in PEM.' })
  ),
  cert: Type.Optional(File({ description: 'A file with the client certificate of the gateway, in PEM.' })),
  key: Type.Optional(File({ description: 'A file with the private key of that certificate, in PEM.' })),
  serverName: Type.Optional(
    Type.String({
      description: 'The name that is sent (SNI) and verified; by default the host that is requested.'
    })
  ),
  verify: Type.Boolean({
    default: true,
    description: 'Whether the certificate of the server is verified; false is for tests only.'
  })
}

const tlsClientSchema = Type.Object(tlsClientOptions)

/** Returns the options of a TLS connection for Node.js; reads the files. */
export function connectionOptions(options: Static<typeof tlsClientSchema>): object {
  const pem = (file: string | undefined): string | undefined =>
    file === undefined ? undefined : readFileSync(file, 'utf8')
  return {
    ca: pem(options.ca),
    cert: pem(options.cert),
    key: pem(options.key),
    rejectUnauthorized: options.verify,
    ...(options.serverName === undefined ? {} : { servername: options.serverName })
  }
}
