import { EchoDefinition } from '../../load/mesh/echo.ts'

/** The echo of the benchmarks, and the same one without the right to be sent twice. */
export const FaultyEchoDefinition = {
  name: 'FaultyEchoService',
  fullName: 'docmesh.faults.FaultyEchoService',
  methods: {
    echo: EchoDefinition.methods.echo,
    echoOnce: { ...EchoDefinition.methods.echo, name: 'EchoOnce', options: {} },
  },
} as const
