package main

import (
	"github.com/spf13/cobra"
)

// shells are those that angz can complete in.
var shells = []string{"bash", "zsh", "fish", "powershell"}

// newCompletionCommand prints what makes a shell complete the words of angz.
func newCompletionCommand(s streams) *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print what makes a shell complete commands, flags and names",
		Long: "Print the script by which a shell completes commands and flags, and from angz.yaml and the\n" +
			"running system also domains, aggregates, services and messages. SHELL is bash, zsh, fish or\n" +
			"powershell. To have it in every new shell:\n\n" +
			"  bash        angz completion bash > ~/.local/share/bash-completion/completions/angz\n" +
			"              (needs the package bash-completion)\n" +
			"  zsh         angz completion zsh > \"${fpath[1]}/_angz\"\n" +
			"              (needs \"autoload -U compinit; compinit\" in ~/.zshrc)\n" +
			"  fish        angz completion fish > ~/.config/fish/completions/angz.fish\n" +
			"  powershell  angz completion powershell >> $PROFILE",
		Example: "  source <(angz completion bash)\n" +
			"  angz completion fish | source\n" +
			"  angz completion powershell | Out-String | Invoke-Expression",
		Args:      between(1, "SHELL"),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(s.out, !plain)
			case "zsh":
				if plain {
					return root.GenZshCompletionNoDesc(s.out)
				}
				return root.GenZshCompletion(s.out)
			case "fish":
				return root.GenFishCompletion(s.out, !plain)
			case "powershell":
				if plain {
					return root.GenPowerShellCompletion(s.out)
				}
				return root.GenPowerShellCompletionWithDesc(s.out)
			}
			return usagef("SHELL: found %q, expected bash, zsh, fish or powershell", args[0])
		},
	}
	cmd.Flags().BoolVar(&plain, "no-descriptions", false, "offer words without what they mean")
	return cmd
}
